// Command gateway is the machine between an inside network and the outside: it
// forwards, gives what goes out an address of its own (SNAT or masquerade), and
// leads published ports to servers inside (DNAT). It prints what it changes, puts
// back what others remove, and on SIGTERM or SIGINT leaves rules and kernel settings
// as it found them. Run again after SIGKILL, it mends what is not as wanted, and
// still knows the settings that there were.
//
//	gateway -inside 192.168.160.0/24 -outside-interface ens36 -snat 12.0.0.1 \
//		-publish 12.0.0.1:3344=192.168.160.100:3344/tcp
//
// The flags are named by sides: -inside and -outside-interface are the two
// sides, -snat and -masquerade are the words of iptables, -publish is written
// OUTSIDE=INSIDE as a port of a container is. What they cannot say is said by -rules, a
// file of rules, which SIGHUP reads again: only the difference is changed. -plan
// prints what would be done, and does nothing.
//
// It needs CAP_NET_ADMIN and a kernel with nf_tables or iptables. See README.md for
// a topology.
//
// How it flows: config.go makes rules and settings of the flags, with publish.go
// and file.go; gateway.go brings them into the kernel and keeps them there, and
// metrics.go shows what they do; doubts.go tells what is allowed but looks like a
// mistake, remove.go takes away what other runs have left.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/lvskit/lvskit/sysctl"
)

func main() {
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(2)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, cfg, hup, os.Stdout); err != nil {
		if errors.Is(err, fs.ErrPermission) && !errors.Is(err, sysctl.ErrReadOnly) {
			err = fmt.Errorf("%w\nIt needs CAP_NET_ADMIN: run it as root, or by systemd with AmbientCapabilities=CAP_NET_ADMIN", err)
		}
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}
