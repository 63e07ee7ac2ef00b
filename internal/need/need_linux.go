package need

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/lvskit/lvskit/internal/netns"
	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// Root needs the rights of a network administrator: CAP_NET_ADMIN and
// CAP_SYS_ADMIN, in the initial user namespace or in one of the test's own.
func Root(t testing.TB) {
	t.Helper()
	if !netns.Capable(unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN) {
		missing(t, "root", "the test has no CAP_NET_ADMIN and CAP_SYS_ADMIN")
	}
}

// IPVS needs root in the initial user namespace and a kernel with ip_vs.
func IPVS(t testing.TB) {
	t.Helper()
	if !netns.Capable(unix.CAP_NET_ADMIN) || !initialUserNS() {
		missing(t, "ipvs", "the test is not root in the initial user namespace")
	}
	conn, err := genetlink.Dial(nil)
	if err != nil {
		t.Fatalf("dial generic netlink: %v", err)
	}
	defer conn.Close()
	if _, err := conn.GetFamily("IPVS"); err != nil {
		missing(t, "ipvs", "the kernel has no ip_vs")
	}
}

// NoIPVS needs a kernel without ip_vs. No run promises it.
func NoIPVS(t testing.TB) {
	t.Helper()
	conn, err := genetlink.Dial(nil)
	if err != nil {
		t.Fatalf("dial generic netlink: %v", err)
	}
	defer conn.Close()
	if _, err := conn.GetFamily("IPVS"); err == nil {
		t.Skip("the kernel has ip_vs")
	}
}

// Module needs the named kernel modules, loaded or loadable.
func Module(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Stat("/sys/module/" + name); err == nil {
			continue
		}
		if err := exec.Command("modprobe", "-q", name).Run(); err != nil {
			missing(t, "module", "the kernel module "+name+" cannot be loaded")
		}
	}
}

// Kernel needs a kernel of at least this version.
func Kernel(t testing.TB, major, minor int) {
	t.Helper()
	if have := KernelVersion(t); have < major*1000+minor {
		t.Skipf("the kernel is older than %d.%d", major, minor)
	}
}

// KernelVersion is the running kernel's version as major*1000+minor.
func KernelVersion(t testing.TB) int {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatalf("uname: %v", err)
	}
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	if len(parts) < 2 {
		t.Fatalf("unreadable kernel release %q", parts)
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(strings.TrimRight(parts[1], "-+abcdefghijklmnopqrstuvwxyz"))
	if err1 != nil || err2 != nil {
		t.Fatalf("unreadable kernel release %q", parts)
	}
	return major*1000 + minor
}

// initialUserNS tells by the identity map: only the initial user namespace
// maps all 2^32-1 users onto themselves.
func initialUserNS() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(m))
	return err == nil && len(f) == 3 && f[0] == "0" && f[1] == "0" && f[2] == "4294967295"
}
