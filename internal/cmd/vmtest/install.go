package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/lvskit/lvskit/internal/debian"
)

// needed is what the stages and the tests use of a Debian system.
var needed = []debian.Package{
	{Name: "gcc", Has: "gcc", Why: "the race detector"},
	{Name: "libc6-dev", Has: "/usr/include/features.h", Why: "the race detector"},
	{Name: "qemu-system-x86", Has: "qemu-system-x86_64", Why: "the machine"},
	{Name: "busybox-static", Has: "busybox", Static: true, Why: "the machine's first file system"},
	{Name: "kmod", Has: "depmod", Why: "the machine's kernel modules"},
	{Name: "xz-utils", Has: "xz", Why: "the modules of 6.12 are packed with it"},
	{Name: "iproute2", Has: "ip", Why: "peer of lab and vip: another reader of links and addresses"},
	{Name: "ipvsadm", Has: "ipvsadm", Why: "peer of ipvs: must print what we set, and the other way round"},
	{Name: "keepalived", Has: "keepalived", Unit: "keepalived.service", Why: "peer of vrrp and health"},
	{Name: "frr", Has: "/usr/lib/frr/vrrpd", Unit: "frr.service", Why: "peer of vrrp"},
	{Name: "iptables", Has: "iptables-restore", Why: "backend and peer of nat"},
	{Name: "nftables", Has: "nft", Unit: "nftables.service", Why: "peer of nat"},
	{Name: "nginx-light", Has: "nginx", Unit: "nginx.service", Why: "real server that is not written in Go"},
	{Name: "libnginx-mod-stream", Has: "/usr/lib/nginx/modules/ngx_stream_module.so", Why: "peer of ipvs/userspace"},
	{Name: "haproxy", Has: "haproxy", Unit: "haproxy.service", Why: "peer of ipvs/userspace"},
	{Name: "python3-aiosmtpd", Has: "aiosmtpd", Why: "mail server that is not written in Go"},
	{Name: "dnsmasq-base", Has: "dnsmasq", Why: "peer of health: a name server"},
	{Name: "tcpdump", Has: "tcpdump", Why: "another eye on captured packets"},
	{Name: "iputils-ping", Has: "ping", Why: "client of the virtual address"},
	{Name: "iputils-arping", Has: "arping", Why: "who answers for an address"},
	{Name: "curl", Has: "curl", Why: "client that is not written in Go"},
	{Name: "openssl", Has: "openssl", Why: "TLS server that is not written in Go"},
	{Name: "procps", Has: "sysctl", Why: "peer of sysctl"},
}

// install installs what is missing, or says what to install.
func (s *session) install(ctx context.Context) {
	if runtime.GOOS != "linux" {
		return
	}
	defer s.stage("programs that the tests use")()
	missing := debian.Missing(needed)
	switch {
	case len(missing) == 0:
		s.complete = true
		s.line("ok", "all there", "")
	case !debian.Here():
		s.line("note", "missing: "+list(missing), "this is not Debian: install what provides them")
	case os.Geteuid() != 0:
		s.line("note", "missing: "+list(missing), debian.Command(missing))
	default:
		if err := debian.Install(ctx, missing); err != nil {
			s.fail("install", "install packages", err.Error())
			return
		}
		s.complete = len(debian.Missing(needed)) == 0
		s.line("ok", "installed: "+list(missing), "")
	}
}

// list names packages with their reasons.
func list(packages []debian.Package) string {
	var b strings.Builder
	for i, p := range packages {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s (%s)", p.Name, p.Why)
	}
	return b.String()
}
