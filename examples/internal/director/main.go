package director

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Main is the program with these arguments, until a signal or an error ends it.
// What it returns is the exit status: 2 for wrong arguments, 1 for an error, which
// it has written to the standard error.
func Main(args []string) (status int) {
	opts, err := flags(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "director:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, opts); err != nil {
		fmt.Fprintln(os.Stderr, "director:", err)
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	file      string
	plan      bool
	runDir    string
	metrics   string
	dataplane string
}

func flags(args []string) (o options, err error) {
	f := flag.NewFlagSet("director", flag.ContinueOnError)
	f.StringVar(&o.file, "config", "", "configuration `FILE`, see README.md")
	f.BoolVar(&o.plan, "plan", false, "print what would be changed if all real servers lived, and change nothing")
	f.StringVar(&o.runDir, "run", "/run/lvskit", "`FOLDER` of the notes that outlive a SIGKILL")
	f.StringVar(&o.metrics, "metrics", "", "`ADDRESS` to serve Prometheus' /metrics at")
	f.StringVar(&o.dataplane, "dataplane", Auto, "what forwards the connections: kernel is IPVS, userspace this program; auto is the kernel where it may be used")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.file == "":
		return o, errors.New("no configuration: give -config FILE")
	}
	return o, CheckDataplane(o.dataplane)
}

func run(ctx context.Context, o options) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	cfg, err := readFile(o.file)
	if err != nil {
		return err
	}
	d, err := newDirector(ctx, o, cfg, os.Stdout)
	if err != nil {
		return err
	}
	defer d.table.Close()
	if cfg, err = d.table.fit(cfg); err != nil {
		return fmt.Errorf("%s: %w", o.file, err)
	}
	if o.plan {
		return d.plan(ctx, cfg)
	}
	return d.run(ctx, cfg, hup)
}
