package ipvs

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestParseConnection(t *testing.T) {
	ends := func(client, virtual, dest string) Connection {
		return Connection{
			Protocol: TCP, Client: netip.MustParseAddrPort(client),
			Virtual: netip.MustParseAddrPort(virtual), Destination: netip.MustParseAddrPort(dest),
		}
	}
	with := func(c Connection, edit func(*Connection)) Connection { edit(&c); return c }
	v4 := ends("192.168.247.134:52662", "192.168.247.188:80", "192.168.247.135:8080")
	for line, want := range map[string]Connection{
		"TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 ESTABLISHED     899": with(v4, func(c *Connection) {
			c.State, c.Expires = StateEstablished, 899*time.Second
		}),
		"TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 FIN_WAIT          0": with(v4, func(c *Connection) {
			c.State = StateFinWait
		}),
		// A timer that is due, as HZ=250 writes it.
		"TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 TIME_WAIT   73786976294838206": with(v4, func(c *Connection) {
			c.State = StateTimeWait
		}),
		"SCTP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 SHUTDOWN_ACK_SENT   3": with(v4, func(c *Connection) {
			c.Protocol, c.State, c.Expires = SCTP, "SHUTDOWN_ACK_SENT", 3*time.Second
		}),
		// An IPv6 service whose destination is IPv4.
		"TCP fd00:0000:0000:0000:0000:0000:0000:0005 0001 2001:0db8:0000:0000:0000:0000:0000:0000 FFFF C0A8F787 0050 SYN_RECV         57": with(
			ends("[fd00::5]:1", "[2001:db8::]:65535", "192.168.247.135:80"), func(c *Connection) {
				c.State, c.Expires = StateSynRecv, 57*time.Second
			}),
		// A template of firewall mark 7.
		"IP  C0A8F700 0000 00000007 0000 C0A8F787 0000 NONE            299": with(
			ends("192.168.247.0:0", "0.0.0.7:0", "192.168.247.135:0"), func(c *Connection) {
				c.Protocol, c.State, c.Expires = 0, StateNone, 299*time.Second
			}),
		"UDP C0A8F786 0000 C0A8F7BC 13C4 C0A8F787 13C4 UDP             300 sip 3848276298220188511@atlanta": with(
			ends("192.168.247.134:0", "192.168.247.188:5060", "192.168.247.135:5060"), func(c *Connection) {
				c.Protocol, c.State, c.Expires = UDP, StateUDP, 300*time.Second
				c.Engine, c.EngineData = "sip", "3848276298220188511@atlanta"
			}),
		"IP_47 C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 NONE 1": with(v4, func(c *Connection) {
			c.Protocol, c.State, c.Expires = 47, StateNone, time.Second
		}),
	} {
		got, err := parseConnection([]byte(line))
		if err != nil || got != want {
			t.Errorf("%s\n got %+v, %v\nwant %+v", line, got, err, want)
		}
		if got.Template() != (want.Client.Port() == 0) {
			t.Errorf("%s: template %v", line, got.Template())
		}
	}
}

func TestParseSyncConnection(t *testing.T) {
	const ends = "TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 ESTABLISHED "
	for text, want := range map[string]Origin{"LOCAL      899": OriginLocal, "SYNC       899": OriginSync} {
		c, err := parseSyncConnection([]byte(ends + text))
		if err != nil || c.Origin != want || c.Expires != 899*time.Second || c.State != StateEstablished {
			t.Errorf("%s: %+v, %v", text, c, err)
		}
	}
	if c, err := parseSyncConnection([]byte(ends + "MARS 899")); err == nil {
		t.Errorf("parsed %+v", c)
	}
}

func TestParseConnectionRefuses(t *testing.T) {
	const good = "TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 ESTABLISHED     899"
	for name, line := range map[string]string{
		"nothing":              "",
		"a heading":            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
		"an unknown protocol":  strings.Replace(good, "TCP", "XYZ", 1),
		"a protocol of 256":    strings.Replace(good, "TCP", "IP_256", 1),
		"a long address":       strings.Replace(good, "C0A8F786", "C0A8F78600", 1),
		"letters":              strings.Replace(good, "C0A8F786", "C0A8F78G", 1),
		"a short IPv6 address": strings.Replace(good, "C0A8F786", "fd00:0000:0000:0000:0000:0000:0000:005", 1),
		"wrong colons":         strings.Replace(good, "C0A8F786", "fd00:0000:0000:0000:0000:0000:0000.0005", 1),
		"a long port":          strings.Replace(good, "CDB6", "1CDB6", 1),
		"no state":             "TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90",
		"no expiry":            strings.TrimSuffix(good, "     899"),
		"a negative expiry":    strings.Replace(good, "899", "-1", 1),
	} {
		if c, err := parseConnection([]byte(line)); err == nil {
			t.Errorf("%s: parsed %+v", name, c)
		}
	}
}

func FuzzParseConnection(f *testing.F) {
	f.Add("TCP C0A8F786 CDB6 C0A8F7BC 0050 C0A8F787 1F90 ESTABLISHED     899 sip x")
	f.Add("TCP fd00:0000:0000:0000:0000:0000:0000:0005 0001 fd00:0000:0000:0000:0000:0000:0000:0005 FFFF C0A8F787 0050 SYN_RECV SYNC 57")
	f.Fuzz(func(t *testing.T, line string) {
		for _, parse := range []func([]byte) (Connection, error){parseConnection, parseSyncConnection} {
			c, err := parse([]byte(line))
			if err != nil {
				continue
			}
			if !c.Client.IsValid() || !c.Virtual.IsValid() || !c.Destination.IsValid() || c.State == "" || c.Expires < 0 {
				t.Errorf("parsed %+v", c)
			}
		}
	})
}
