// Command director is the director of an LVS cluster: it sets the kernel's
// settings for its role, the virtual services with those of their real servers
// that live, and the virtual addresses, keeps them until SIGTERM or SIGINT, and
// takes all of it back. Two of them on two machines are a pair: one holds the
// addresses, and the other takes over with the connections there are.
//
// SIGHUP reads the configuration again and changes only the difference. Run
// again after SIGKILL, it repairs what is not as wanted.
//
// It needs CAP_NET_ADMIN in the initial user namespace, for VRRP CAP_NET_RAW too,
// and a kernel with ip_vs. See README.md for the configuration and a topology.
//
// How it flows: file.go is the configuration as written, read by strict.go;
// config.go, check.go and kinds.go translate it into the words of the packages.
// director.go puts the packages together: serve.go keeps the table as pool.go and
// drain.go want it, hold.go the addresses, pair.go the other director up to date.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	opts, err := flags(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "director:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "director:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	file    string
	plan    bool
	runDir  string
	metrics string
}

func flags(args []string) (o options, err error) {
	f := flag.NewFlagSet("director", flag.ContinueOnError)
	f.StringVar(&o.file, "config", "", "configuration `FILE`, see README.md")
	f.BoolVar(&o.plan, "plan", false, "print what would be changed if all real servers lived, and change nothing")
	f.StringVar(&o.runDir, "run", "/run/lvskit", "`FOLDER` of the notes that outlive a SIGKILL")
	f.StringVar(&o.metrics, "metrics", "", "`ADDRESS` to serve Prometheus' /metrics at")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.file == "" {
		return o, errors.New("no configuration: give -config FILE")
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	cfg, err := readFile(o.file)
	if err != nil {
		return err
	}
	d, err := newDirector(o, os.Stdout)
	if err != nil {
		return err
	}
	defer d.table.Close()
	if o.plan {
		return d.plan(ctx, cfg)
	}
	return d.run(ctx, cfg, hup)
}
