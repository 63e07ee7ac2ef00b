package ipvs

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestDaemonBytes(t *testing.T) {
	littleEndian(t)
	var e encoder
	e.daemon(Daemon{
		State: DaemonBackup, Interface: "lo", SyncID: 255, MaxLen: 1400,
		Group: netip.MustParseAddr("224.0.0.82"), Port: 0x1234, TTL: 2,
	})
	want := unhex(`
		3c00 0300
			0800 0100 02000000
			0700 0200 6c6f0000
			0800 0300 ff000000
			0600 0400 78050000
			0800 0500 e0000052
			0600 0700 34120000
			0500 0800 02000000`)
	want[0] = byte(len(want))
	if !slices.Equal(e.b, want) {
		t.Errorf("encoded\n%x, want\n%x", e.b, want)
	}
}

func TestDaemonRoundTrip(t *testing.T) {
	for _, d := range []Daemon{
		{State: DaemonMaster, Interface: "eth0"},
		{State: DaemonBackup, Interface: "fifteen_letters", SyncID: 7, MaxLen: 65535, Port: 65535, TTL: 255},
		{State: DaemonMaster, Interface: "eth0", Group: netip.MustParseAddr("ff02::51")},
		{State: DaemonMaster, Interface: "eth0", Group: netip.MustParseAddr("239.1.2.3")},
	} {
		must(t, d.validate())
		var e encoder
		e.daemon(d)
		if got, err := decodeDaemon(e.b); err != nil || got != d {
			t.Errorf("got %+v, %v, want %+v", got, err, d)
		}
	}
}

func TestDaemonValidate(t *testing.T) {
	for want, d := range map[string]Daemon{
		"no state":     {Interface: "eth0"},
		"needs an":     {State: DaemonMaster},
		"longer":       {State: DaemonMaster, Interface: "sixteen_letters_"},
		"sync ID 256":  {State: DaemonMaster, Interface: "eth0", SyncID: 256},
		"sync ID -1":   {State: DaemonMaster, Interface: "eth0", SyncID: -1},
		"65536":        {State: DaemonMaster, Interface: "eth0", MaxLen: 65536},
		"no multicast": {State: DaemonMaster, Interface: "eth0", Group: netip.MustParseAddr("10.0.0.1")},
	} {
		err := d.validate()
		want = strings.Replace(want, "no multicast", "not a multicast", 1)
		if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", d, err, want)
		}
	}
}

func TestDaemonStateText(t *testing.T) {
	for s, text := range map[DaemonState]string{DaemonMaster: "master", DaemonBackup: "backup"} {
		b, err := s.MarshalText()
		var back DaemonState
		if err != nil || string(b) != text || back.UnmarshalText([]byte(strings.ToUpper(text))) != nil || back != s {
			t.Errorf("%d is %q (%v) and back %d", s, b, err, back)
		}
	}
	if _, err := DaemonState(0).MarshalText(); err == nil {
		t.Error("the zero state has a name")
	}
}
