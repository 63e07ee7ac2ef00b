// Command quickstart shows on one machine what lvskit is for. It builds a
// client, two directors and three web servers, each with a network of its own,
// sends a steady load to the virtual address, kills a web server, then the
// active director, brings both back, and says what was lost and how long it
// took. Nothing remains of it.
//
// It needs no rights: an ordinary user's run makes a user namespace for itself.
// Where the kernel's IPVS may be used, it forwards the connections; elsewhere the
// directors do so themselves, with the engine of ipvs/userspace. It says which, and
// why.
//
// # How it flows
//
// main.go reads the flags and prints the result. dataplane.go chooses what
// forwards; cluster.go and config.go build the network and start the programs
// on it. load.go sends requests, journal.go keeps what became of them,
// observe.go sees from outside who is Active, and by table.go what is in the pool.
// scenario.go is the story that is told, timeline.go and screen.go draw it.
// footprint_linux.go looks what is left, summary.go puts all of it into words.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/lvskit/lvskit/examples/internal/director"
)

// asDirector as the first argument makes this program the director of examples/director.
const asDirector = "director"

func main() {
	if len(os.Args) > 1 && os.Args[1] == asDirector {
		os.Exit(director.Main(os.Args[2:]))
	}
	cfg, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(2)
	}
	if err := rights(); err != nil { // first: an ordinary user's run begins again
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait for the first
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

type config struct {
	rate      int // requests a second
	interval  time.Duration
	dataplane string
	hold      bool
	json      bool
}

func parse(args []string, usage io.Writer) (cfg config, err error) {
	f := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	f.SetOutput(usage)
	f.IntVar(&cfg.rate, "rate", 100, "requests a second that the client sends, each over a connection of its own")
	f.DurationVar(&cfg.interval, "interval", 250*time.Millisecond, "time between two VRRP advertisements: who is silent for three of them (and a bit) is dead")
	f.StringVar(&cfg.dataplane, "dataplane", director.Auto, "what forwards the connections: kernel is IPVS, userspace the directors themselves; auto is the kernel where it may be used")
	f.BoolVar(&cfg.hold, "hold", false, "kill nothing: keep the cluster and its load up until Ctrl-C, and say how to look into it")
	f.BoolVar(&cfg.json, "json", false, "print the result as one JSON object, and the timeline to the standard error")
	if err := f.Parse(args); err != nil {
		return config{}, err
	}
	switch {
	case f.NArg() > 0:
		return config{}, fmt.Errorf("unexpected argument %q", f.Arg(0))
	case cfg.rate < 1 || cfg.rate > 1000:
		return config{}, fmt.Errorf("-rate %d: want 1 to 1000", cfg.rate)
	case cfg.interval < 50*time.Millisecond || cfg.interval > 10*time.Second:
		return config{}, fmt.Errorf("-interval %v: want 50ms to 10s", cfg.interval)
	case cfg.interval%(10*time.Millisecond) != 0:
		return config{}, fmt.Errorf("-interval %v: VRRP counts in hundredths of a second", cfg.interval)
	case cfg.json && cfg.hold:
		return config{}, errors.New("-hold ends with Ctrl-C and has no result for -json")
	}
	return cfg, director.CheckDataplane(cfg.dataplane)
}

func run(ctx context.Context, cfg config) error {
	plane, err := choose(ctx, cfg.dataplane)
	if err != nil {
		return err
	}
	before, err := lookAround(ctx, plane)
	if err != nil {
		return err
	}
	shown := os.Stdout
	if cfg.json {
		shown = os.Stderr
	}
	res, err := demonstrate(ctx, cfg, plane, shown)
	left, errLeft := before.left()
	if err != nil || errLeft != nil {
		fmt.Fprintln(shown, "\nleft behind:", leftInWords(left, plane.name))
		return errors.Join(err, errLeft)
	}
	res.Dataplane, res.Reason, res.LeftBehind, res.ModulesLoaded = plane.name, plane.why, left, before.loaded()
	if cfg.json {
		return json.NewEncoder(os.Stdout).Encode(res)
	}
	_, err = io.WriteString(shown, res.words(width(shown)))
	return err
}
