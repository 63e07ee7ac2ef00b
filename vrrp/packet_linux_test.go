package vrrp

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
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

// keepalived24 names a keepalived of version 2.4 or newer, which has auth_hmac and
// v3_checksum_as_v2.
const keepalived24 = "LVSKIT_KEEPALIVED24"

// TestPeers runs each fixture's peer against what encode makes, and decodes what
// it sends: it must be silent as long as we advertise a higher priority, and
// advertise when we resign. As it takes 7 s each, only some of them run, but all
// with LVSKIT_TESTDATA=check, and with LVSKIT_TESTDATA=update it writes the
// fixtures too.
func TestPeers(t *testing.T) {
	all, update := os.Getenv("LVSKIT_TESTDATA") != "", os.Getenv("LVSKIT_TESTDATA") == "update"
	for _, f := range fixtures {
		if !f.live && !all {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			program := f.program(t)
			our, peer, capture := f.lab(t)
			w := testWire(t, f.set)
			resign := f.advertise(t, our, w)
			process := f.start(t, peer, program)
			if !f.ownSum {
				f.silent(t, capture)
			}
			resign()
			at := time.Now()
			packets := nextPackets(t, capture, 2)
			if err := process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			packets = append(packets, nextPackets(t, capture, 1)...)
			if err := f.check(packets, at, testWire(t, f.set)); err != nil {
				t.Error(err)
			}
			if update {
				f.write(t, packets, at, labtest.Run(t, peer, "sh", "-c", program+" -v 2>&1"))
			}
		})
	}
}

// lab is a lab with our host and the fixture's, and what the latter sends.
func (f *fixture) lab(t *testing.T) (our, peer *lab.Host, c *lab.Capture) {
	l := labtest.New(t)
	lan := labtest.Switch(t, l, "lan")
	our, peer = labtest.Host(t, l, "our"), labtest.Host(t, l, "peer")
	link := labtest.Connect(t, peer, lan, fixtureSrc4+"/24")
	labtest.Connect(t, our, lan, fixtureOur4+"/24")
	for host, a := range map[*lab.Host]string{our: fixtureOur6, peer: fixtureSrc6} { // no other link-local address
		labtest.Run(t, host, "ip", "-6", "addr", "flush", "dev", "eth0")
		labtest.Run(t, host, "ip", "-6", "addr", "add", a+"/64", "dev", "eth0", "nodad")
	}
	c, err := link.Capture(isVRRP)
	if err != nil {
		t.Fatal(err)
	}
	return our, peer, c
}

// start starts the fixture's peer.
func (f *fixture) start(t *testing.T, host *lab.Host, program string) *lab.Process {
	if f.peer == "frr" {
		return f.startFRR(t, host)
	}
	return f.startKeepalived(t, host, program)
}

// isVRRP keeps frames with VRRP or AH.
func isVRRP(frame []byte) bool {
	if len(frame) < 42 {
		return false
	}
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		return frame[23] == protocolVRRP || frame[23] == protocolAH
	case 0x86dd:
		return frame[20] == protocolVRRP
	}
	return false
}

// nextPackets is the next n IP packets that the host sends, without Ethernet's
// header and padding.
func nextPackets(t *testing.T, c *lab.Capture, n int) (packets [][]byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(packets) < n {
		f, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !f.FromHost {
			continue
		}
		b := f.Data[14:]
		if b[0]>>4 == 4 {
			b = b[:binary.BigEndian.Uint16(b[2:])]
		} else {
			b = b[:40+binary.BigEndian.Uint16(b[4:])]
		}
		packets = append(packets, bytes.Clone(b))
	}
	return packets
}

// program is the fixture's peer; the test is skipped without it.
func (f *fixture) program(t *testing.T) string {
	switch f.peer {
	case "frr":
		const vrrpd = "/usr/lib/frr/vrrpd"
		if _, err := os.Stat(vrrpd); err != nil {
			t.Skip("no FRR: ", err)
		}
		return vrrpd
	case "keepalived":
		need.Program(t, "keepalived")
		return "keepalived"
	}
	path := os.Getenv(keepalived24)
	if path == "" {
		t.Skip(keepalived24 + " does not name a keepalived of 2.4 or newer")
	}
	return path
}

func (f *fixture) startKeepalived(t *testing.T, host *lab.Host, program string) *lab.Process {
	dir := t.TempDir()
	conf := filepath.Join(dir, "keepalived.conf")
	text := "vrrp_instance V {\nstate MASTER\ninterface eth0\nvirtual_router_id 51\npriority 200\nadvert_int 1\n" + f.conf + "}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return labtest.Start(t, host, "Entering BACKUP", program, "-n", "-l", "-D", "-f", conf, "-p", dir+"/pid", "-r", dir+"/vrrp.pid")
}

func (f *fixture) startFRR(t *testing.T, host *lab.Host) *lab.Process {
	c := plainConfig()
	f.set(&c)
	kind, family, mac := "vrrp4-51", "ip", "00:00:5e:00:01:33"
	if c.ipv6() {
		kind, family, mac = "vrrp6-51", "ipv6", "00:00:5e:00:02:33"
	}
	labtest.Run(t, host, "ip", "link", "add", kind, "link", "eth0", "address", mac, "type", "macvlan", "mode", "bridge")
	text := "interface eth0\n vrrp 51 version " + f.conf + "\n vrrp 51 priority 200\n vrrp 51 advertisement-interval 1000\n"
	for _, a := range c.Addresses {
		text += fmt.Sprintf(" vrrp 51 %s %v\n", family, a)
		labtest.Run(t, host, "ip", "addr", "add", fmt.Sprintf("%v/%d", a, a.BitLen()), "dev", kind, "nodad")
	}
	labtest.Run(t, host, "ip", "link", "set", kind, "up")
	dir := t.TempDir()
	conf := filepath.Join(dir, "frr.conf")
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} { // its daemons are of a user of their own
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	common := []string{"-z", dir + "/zserv", "--vty_socket", dir, "-P", "0", "--log", "stdout"}
	labtest.Start(t, host, "", "/usr/lib/frr/zebra", append(common, "-i", dir+"/zebra.pid", "-f", "/dev/null")...)
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir + "/zserv"); err == nil {
			break
		}
		if time.Now().After(until) {
			t.Fatal("zebra does not start")
		}
	}
	return labtest.Start(t, host, "", "/usr/lib/frr/vrrpd", append(common, "-i", dir+"/vrrpd.pid", "-f", conf)...)
}

// write writes the fixture's file.
func (f *fixture) write(t *testing.T, packets [][]byte, at time.Time, version string) {
	version, _, _ = strings.Cut(strings.TrimSpace(version), "\n")
	text := fmt.Sprintf("# Sent by %s: two advertisements and the resignation.\n# LVSKIT_TESTDATA=update go test -run TestPeers/%s ./vrrp\n# time %d\n", version, f.name, at.Unix())
	for _, b := range packets {
		text += fmt.Sprintf("%x\n", b)
	}
	if err := os.MkdirAll(filepath.Dir(f.path()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
