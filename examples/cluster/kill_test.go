package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

// readSettings reads every setting of a host's network, but for those that
// count or that cannot be read.
func readSettings(h *lab.Host) (string, error) {
	var all bytes.Buffer
	err := h.Do(func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || strings.HasSuffix(path, "_count") {
				return err
			}
			if value, err := os.ReadFile(path); err == nil {
				fmt.Fprintf(&all, "%s = %s\n", path, bytes.TrimSpace(value))
			}
			return nil
		})
	})
	return all.String(), err
}

// differ names the lines that only one of two states has.
func differ(a, b string) string {
	var out strings.Builder
	for _, side := range []struct{ mark, have, other string }{{"-", a, b}, {"+", b, a}} {
		for line := range strings.Lines(side.have) {
			if !strings.Contains(side.other, line) {
				out.WriteString(side.mark + line)
			}
		}
	}
	return out.String()
}

// TestKilledAtAnyMomentTheNextRunRepairs kills a program at 20 moments, from
// its first instruction to when it is ready and in its ending. The next run
// must leave exactly the wanted state, and SIGTERM what was there before.
func TestKilledAtAnyMomentTheNextRunRepairs(t *testing.T) {
	p := compiled(t)
	need.Program(t, "ipvsadm")
	need.Module(t, "ipip") // with it tunl0 comes to every host, for good
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := newTestCluster(t, "tun", false)
	persistent := c.service("mh")
	persistent.Persistence = "60s"
	for _, tt := range []struct {
		name string
		host *lab.Host
		path string
		args []string
	}{
		{"director", c.director, p.director, c.args(t, persistent)},
		{"realserver", c.servers[0], p.realserver, c.serverArgs(0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			runDir := t.TempDir()
			args := append(tt.args, "-run", runDir)
			labtest.Run(t, tt.host, "ipvsadm", "-Ln") // loads ip_vs, whose settings appear
			before := state(t, tt.host)
			begun := time.Now()
			first := labtest.Start(t, tt.host, "ready\n", tt.path, args...)
			upTime := time.Since(begun)
			wanted := state(t, tt.host)
			if wanted == before {
				t.Fatal("the program changed nothing")
			}
			begun = time.Now()
			stop(t, first)
			downTime := time.Since(begun)
			if after := state(t, tt.host); after != before {
				t.Fatalf("SIGTERM left\n%s", differ(before, after))
			}
			for i := range 20 {
				ending := i%4 == 3
				moment := time.Duration(random.Int64N(int64(upTime)))
				killAt(t, tt.host, ending, moment, time.Duration(random.Int64N(int64(downTime))), tt.path, args)
				again := labtest.Start(t, tt.host, "ready\n", tt.path, args...)
				if got := state(t, tt.host); got != wanted {
					t.Fatalf("killed after %v (ending: %v), the next run differs:\n%s", moment, ending, differ(wanted, got))
				}
				stop(t, again)
				if after := state(t, tt.host); after != before {
					t.Fatalf("killed after %v (ending: %v), the next run's end leaves\n%s", moment, ending, differ(before, after))
				}
				if left, err := os.ReadDir(runDir); err != nil || len(left) != 0 {
					t.Fatalf("killed after %v (ending: %v), the next run's end leaves %v, %v", moment, ending, left, err)
				}
			}
		})
	}
}

// killAt starts the program and kills it up seconds later, or down seconds
// after it was told to end.
func killAt(t *testing.T, h *lab.Host, ending bool, up, down time.Duration, path string, args []string) {
	t.Helper()
	after := up
	var p *lab.Process
	if ending {
		p = labtest.Start(t, h, "ready\n", path, args...)
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		after = down
	} else {
		var err error
		if p, err = h.Start(path, args...); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), after)
	defer cancel()
	_ = p.Wait(ctx) // the moment has come, or the program was faster
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
}
