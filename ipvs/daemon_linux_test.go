package ipvs

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/lvskit/lvskit/internal/netns"
)

// addDummy makes an interface that can do multicast.
func addDummy(t *testing.T, path, name string, addrs ...string) {
	t.Helper()
	must(t, netns.Do(path, func() error {
		link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Name: name, Flags: 1<<0 | 1<<4}}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		if err := netlink.LinkSetMulticastOn(link); err != nil {
			return err
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a)
			if err != nil {
				return err
			}
			addr.Flags = 2 // no duplicate address detection
			if err := netlink.AddrAdd(link, addr); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	}))
}

func TestDaemons(t *testing.T) {
	c, ns := kernel(t)
	addDummy(t, ns, "sync0", "10.9.0.1/24", "fd00:9::1/64")
	master := Daemon{
		State: DaemonMaster, Interface: "sync0", SyncID: 255, MaxLen: 1400,
		Group: netip.MustParseAddr("239.1.2.3"), Port: 4660, TTL: 7,
	}
	backup := Daemon{State: DaemonBackup, Interface: "sync0", SyncID: 3, MaxLen: 1300, Group: netip.MustParseAddr("ff02::51"), Port: 8850, TTL: 1}
	must(t, c.StartDaemon(background, master))
	must(t, c.StartDaemon(background, backup))
	list, err := c.Daemons(background)
	if err != nil || len(list) != 2 || list[0] != master || list[1] != backup {
		t.Errorf("got  %+v, %v\nwant %+v", list, err, []Daemon{master, backup})
	}
	out := ipvsadm(t, ns, "-L", "--daemon")
	for _, text := range []string{"syncid=255", "maxlen=1400", "group=239.1.2.3", "port=4660", "ttl=7", "group=ff02::51", "port=8850", "syncid=3"} {
		if !strings.Contains(out, text) {
			t.Errorf("ipvsadm does not say %s:\n%s", text, out)
		}
	}
	if err := c.StartDaemon(background, master); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second master: %v", err)
	}
	must(t, c.StopDaemon(background, DaemonMaster))
	if list, err := c.Daemons(background); err != nil || len(list) != 1 || list[0] != backup {
		t.Errorf("%+v, %v", list, err)
	}
	must(t, c.StopDaemon(background, DaemonBackup))

	// What ipvsadm starts, and the kernel's defaults.
	ipvsadm(t, ns, "--start-daemon", "backup", "--mcast-interface", "sync0", "--syncid", "9")
	list, err = c.Daemons(background)
	want := Daemon{State: DaemonBackup, Interface: "sync0", SyncID: 9, Group: netip.MustParseAddr("224.0.0.81"), Port: 8848, TTL: 1}
	if len(list) == 1 {
		want.MaxLen = list[0].MaxLen
	}
	if err != nil || len(list) != 1 || list[0] != want || want.MaxLen == 0 {
		t.Errorf("%+v, %v, want %+v", list, err, want)
	}
	must(t, c.StopDaemon(background, DaemonBackup))
}

func TestDaemonErrors(t *testing.T) {
	c, ns := kernel(t)
	addDummy(t, ns, "sync0", "10.9.0.1/24")
	mixed := tcpID("[fd00::5]:80")
	must(t, c.AddService(background, Service{ID: mixed, Destinations: []Destination{
		{Addr: addrPort("10.0.0.1:80"), Forward: ForwardTunnel, Weight: 1},
	}}))
	err := c.StartDaemon(background, Daemon{State: DaemonMaster, Interface: "sync0"})
	if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "destination of another family") {
		t.Errorf("beside mixed families: %v", err)
	}
	must(t, c.RemoveService(background, mixed))
	if err := c.StartDaemon(background, Daemon{State: DaemonMaster, Interface: "none0"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no interface: %v", err)
	}
	must(t, c.StartDaemon(background, Daemon{State: DaemonMaster, Interface: "sync0"}))
	defer c.StopDaemon(background, DaemonMaster)
	err = c.AddService(background, Service{ID: mixed, Destinations: []Destination{
		{Addr: addrPort("10.0.0.1:80"), Forward: ForwardTunnel, Weight: 1},
	}})
	if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "while it is not tunnelled or a sync daemon runs") {
		t.Errorf("a mixed family beside a daemon: %v", err)
	}
}
