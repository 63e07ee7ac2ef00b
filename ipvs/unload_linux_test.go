package ipvs

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/need"
)

// TestModuleReload unloads ip_vs below an open client. It comes after all tests
// that use moby/ipvs, which would not find it again.
func TestModuleReload(t *testing.T) {
	need.Machine(t)
	if flag.Lookup("test.bench").Value.String() != "" || flag.Lookup("test.count").Value.String() != "1" {
		t.Skip("moby/ipvs looks the family up once in a process, and is still to be used")
	}
	c, _ := kernel(t)
	must(t, c.Flush(background))
	if !unloadModule(t) {
		t.Skip("ip_vs is in use")
	}
	// The next look-up loads it, and the family gets another number.
	if _, err := c.Info(background); err != nil {
		t.Errorf("Info: %v", err)
	}
	unloadModule(t)
	if err := c.AddService(background, Service{ID: tcpID("192.0.2.1:80"), Scheduler: RR}); err != nil {
		t.Errorf("AddService: %v", err)
	}
	if err := c.AddService(background, Service{ID: tcpID("192.0.2.2:80"), Scheduler: "missing"}); !errors.Is(err, ErrNoScheduler) {
		t.Errorf("AddService with a missing scheduler: %v", err)
	}
}

// unloadModule removes ip_vs and what stands on it.
func unloadModule(t *testing.T) bool {
	t.Helper()
	for range 50 {
		b, err := os.ReadFile("/proc/modules")
		must(t, err)
		if !strings.Contains(string(b), "\nip_vs ") {
			return true
		}
		for line := range strings.Lines(string(b)) {
			if name, _, _ := strings.Cut(line, " "); strings.HasPrefix(name, "ip_vs") {
				_ = unix.DeleteModule(name, unix.O_NONBLOCK)
			}
		}
		time.Sleep(20 * time.Millisecond) // namespaces that were closed are still going
	}
	return false
}
