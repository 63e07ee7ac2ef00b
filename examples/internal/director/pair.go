package director

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lvskit/lvskit/ipvs"
	"github.com/lvskit/lvskit/sysctl"
)

// tellTime is how often the other director is told of a connection that is in use,
// and learnTime how long one that returns listens before it takes the addresses
// back.
const (
	tellTime  = 5 * time.Second
	learnTime = 2 * tellTime
)

// daemon is the kernel's sync daemon of a part.
func (f syncFile) daemon(part ipvs.DaemonState) ipvs.Daemon {
	return ipvs.Daemon{State: part, Interface: f.Interface, SyncID: int(f.ID)}
}

// synchronise runs the sync daemons that are wanted, or with nil none. Both parts
// run on both directors all the time: the master tells of the connections that
// this director forwards, which on a Backup are none, and the backup takes what
// the other tells. So a take-over has nothing to start, and a director that
// returns learns while it waits.
func (k *kernelPlane) synchronise(ctx context.Context, want *syncFile) error {
	note := filepath.Join(k.runDir, "director.sync") // that the daemons are ours
	_, err := os.Stat(note)
	ours := err == nil
	if !ours && want == nil {
		return nil
	}
	running, err := k.Daemons(ctx)
	if err != nil {
		return err
	}
	if !ours && len(running) > 0 {
		return fmt.Errorf("sync: the %s daemon runs already, and is not ours: ipvsadm --stop-daemon %[1]s", running[0].State)
	}
	if !ours {
		if err := errors.Join(os.MkdirAll(k.runDir, 0o755), os.WriteFile(note, nil, 0o644)); err != nil {
			return err
		}
	}
	for _, part := range []ipvs.DaemonState{ipvs.DaemonBackup, ipvs.DaemonMaster} {
		if err := k.daemon(ctx, part, running, want); err != nil {
			return err
		}
	}
	if want == nil {
		if err := os.Remove(note); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// daemon makes one part as wanted.
func (k *kernelPlane) daemon(ctx context.Context, part ipvs.DaemonState, running []ipvs.Daemon, want *syncFile) error {
	i := slices.IndexFunc(running, func(r ipvs.Daemon) bool { return r.State == part })
	if i >= 0 && want != nil && running[i].Interface == want.Interface && running[i].SyncID == int(want.ID) {
		return nil
	}
	if i >= 0 {
		if err := k.StopDaemon(ctx, part); err != nil {
			return err
		}
	}
	if want == nil {
		return nil
	}
	fmt.Fprintf(k.out, "ipvsadm --start-daemon %s --mcast-interface %s --syncid %d\n", part, want.Interface, want.ID)
	return k.StartDaemon(ctx, want.daemon(part))
}

// syncSettings let the other director know each connection soon, and again and
// again, so that one that has just started knows all that are in use.
func syncSettings() []sysctl.Setting {
	return []sysctl.Setting{
		{Key: sysctl.IPVS("sync_refresh_period"), Want: sysctl.Exactly(int64(tellTime / time.Second)), Reason: "a director that returns soon knows the connections that are in use"},
		{Key: sysctl.IPVS("sync_threshold"), Want: sysctl.Text("3 0"), Reason: "the period, not the number of packets, decides"},
	}
}
