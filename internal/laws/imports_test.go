package laws

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// internals are the internal packages that public packages may import. The
// others are for tests, and for the programs that run them.
var internals = []string{"internal/netns"}

// modules are what the library may import. What tests and examples use besides
// stays with them: who imports the library gets these and no others.
var modules = []struct{ path, why string }{
	{"github.com/google/nftables", "rules of nftables"},
	{"github.com/mdlayher/arp", "the codec of ARP packets"},
	{"github.com/mdlayher/ethernet", "the codec of frames"},
	{"github.com/mdlayher/genetlink", "the control of IPVS"},
	{"github.com/mdlayher/netlink", "many messages in one system call"},
	{"github.com/mdlayher/packet", "frames sent and received"},
	{"github.com/vishvananda/netlink", "links, addresses, routes"},
	{"golang.org/x/net", "packets of IPv4, IPv6, ICMP and DNS, receive filters"},
	{"golang.org/x/sys", "system calls"},
}

// prometheus may be imported by packages whose names end in prom.
const prometheus = "github.com/prometheus/client_golang"

// testHelpers are packages for tests, though not in files named _test.go.
var testHelpers = []string{"internal/bin", "internal/lab/labtest", "internal/need", "internal/tabletest"}

func within(importPath, module string) bool {
	return importPath == module || strings.HasPrefix(importPath, module+"/")
}

// independent complains about public packages that import each other, or an
// internal package that is not for them. Tests may import what they like.
func independent(s source) (complaints []string) {
	if !s.public() || s.test() {
		return nil
	}
	for _, p := range s.imports() {
		rel, ours := strings.CutPrefix(p, modulePath+"/")
		if !ours && p != modulePath || slices.Contains(internals, rel) {
			continue
		}
		if !ours || path.Dir(s.dir()) != rel {
			complaints = append(complaints, fmt.Sprintf("%s imports %s: a public package imports only its parent and %s",
				s.path, p, strings.Join(internals, ", ")))
		}
	}
	return complaints
}

// frugal complains about imports that users of the library would have to carry.
func frugal(s source) (complaints []string) {
	if s.test() || s.under("examples") || slices.Contains(testHelpers, s.dir()) {
		return nil
	}
	for _, p := range s.imports() {
		switch {
		case p == "testing" || within(p, "testing"):
			complaints = append(complaints, s.path+" imports "+p+": that is for tests")
		case p == "C":
			complaints = append(complaints, s.path+" uses cgo")
		case !strings.Contains(strings.Split(p, "/")[0], "."), within(p, modulePath):
		case within(p, prometheus) && s.public() && strings.HasSuffix(s.dir(), "prom"):
		case !slices.ContainsFunc(modules, func(m struct{ path, why string }) bool { return within(p, m.path) }):
			complaints = append(complaints, s.path+" imports "+p+", which is not in the list of modules of the library")
		}
	}
	return complaints
}

func TestIndependentComplains(t *testing.T) {
	try(t, independent, []trial{
		{"a public package imports another", "vrrp/x.go", `import "github.com/lvskit/lvskit/vip"`, 1},
		{"a public package imports another's subpackage", "vrrp/x.go", `import "github.com/lvskit/lvskit/ipvs/userspace"`, 1},
		{"a package imports its subpackage", "ipvs/x.go", `import "github.com/lvskit/lvskit/ipvs/userspace"`, 1},
		{"a subpackage imports its sibling", "ipvs/ipvsprom/x.go", `import "github.com/lvskit/lvskit/ipvs/userspace"`, 1},
		{"a subpackage imports another's parent", "ipvs/ipvsprom/x.go", `import "github.com/lvskit/lvskit/vip"`, 1},
		{"a public package imports the lab", "ipvs/x_linux.go", `import "github.com/lvskit/lvskit/internal/lab"`, 1},
		{"a public package imports the map", "ipvs/x.go", `import "github.com/lvskit/lvskit"`, 1},
		{"a subpackage imports its parent", "ipvs/ipvsprom/x.go", `import "github.com/lvskit/lvskit/ipvs"`, 0},
		{"a public package imports netns", "ipvs/x.go", `import "github.com/lvskit/lvskit/internal/netns"`, 0},
		{"a test imports the lab", "ipvs/x_test.go", `import "github.com/lvskit/lvskit/internal/lab"`, 0},
		{"an example composes", "examples/x/main.go", `import ("github.com/lvskit/lvskit/vip"; "github.com/lvskit/lvskit/ipvs")`, 0},
	})
}

func TestFrugalComplains(t *testing.T) {
	try(t, frugal, []trial{
		{"prometheus in a package", "ipvs/x.go", `import "github.com/prometheus/client_golang/prometheus"`, 1},
		{"the peer of the tests underneath", "ipvs/x.go", `import "github.com/moby/ipvs"`, 1},
		{"systemd in an internal package", "internal/netns/x.go", `import "github.com/coreos/go-systemd/v22/daemon"`, 1},
		{"testing in a package", "ipvs/x.go", `import "testing"`, 1},
		{"testing/fstest in a package", "ipvs/x.go", `import "testing/fstest"`, 1},
		{"go-cmp in the lab", "internal/lab/x.go", `import "github.com/google/go-cmp/cmp"`, 1},
		{"a name that only begins alike", "ipvs/x.go", `import "golang.org/x/network"`, 1},
		{"cgo", "ipvs/x_linux.go", `import "C"`, 1},
		{"prometheus in its subpackage", "ipvs/ipvsprom/x.go", `import "github.com/prometheus/client_golang/prometheus"`, 0},
		{"the peer in a test", "ipvs/x_test.go", `import "github.com/moby/ipvs"`, 0},
		{"prometheus in an example", "examples/x/main.go", `import "github.com/prometheus/client_golang/prometheus"`, 0},
		{"testing in the test helpers", "internal/need/x.go", `import "testing"`, 0},
		{"a module of the list", "ipvs/x.go", `import ("fmt"; "golang.org/x/sys/unix"; "github.com/mdlayher/netlink/nlenc")`, 0},
	})
}
