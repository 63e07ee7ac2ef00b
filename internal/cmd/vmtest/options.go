package main

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// kernels are the series that the tests know, the default first.
var kernels = []string{"6.12", "6.1"}

// options are the flags and arguments of the command.
type options struct {
	only       map[string]bool
	kernels    []string
	run, bench string
	count      int
	timeout    time.Duration
	verbose    bool
	shell, kvm bool
	exec       string
	memory     int
	patterns   []string
}

// parse reads the arguments; what is wrong with them it has printed.
func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("vmtest", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: go run ./internal/cmd/vmtest [flags] [packages]")
		f.PrintDefaults()
	}
	only := f.String("only", "checks,machine,vm", "the `stages` to run, separated by commas")
	kernel := f.String("kernel", kernels[0], "the `series` of the kernel in the machine: "+strings.Join(kernels, ", ")+" or all")
	f.StringVar(&o.run, "run", "", "run only tests that match the `regexp`")
	f.StringVar(&o.bench, "bench", "", "run benchmarks that match the `regexp`, and no tests unless -run is given")
	f.IntVar(&o.count, "count", 1, "run each test and benchmark `n` times")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "for the tests of one package")
	f.BoolVar(&o.verbose, "v", false, "print the output of all tests")
	f.BoolVar(&o.shell, "shell", false, "a prompt inside the machine instead of tests")
	f.StringVar(&o.exec, "exec", "", "run the shell `command` inside the machine instead of tests")
	f.BoolVar(&o.kvm, "kvm", false, "use /dev/kvm instead of emulating the processor")
	f.IntVar(&o.memory, "memory", 4096, "memory of the machine in `MiB`")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.patterns = f.Args()
	if len(o.patterns) == 0 {
		o.patterns = []string{"./..."}
	}
	if o.bench != "" && o.run == "" {
		o.run = "^$"
	}
	err := o.choose(*only, *kernel)
	if err != nil {
		fmt.Fprintln(stderr, "vmtest:", err)
	}
	return o, err
}

// everything tells a run of all tests.
func (o *options) everything() bool {
	return o.run == "" && slices.Equal(o.patterns, []string{"./..."})
}

// choose sets the stages and kernels.
func (o *options) choose(only, kernel string) error {
	o.only = map[string]bool{}
	for stage := range strings.SplitSeq(only, ",") {
		switch stage {
		case "checks", "machine", "vm":
			o.only[stage] = true
		default:
			return fmt.Errorf("-only %s: the stages are checks, machine and vm", stage)
		}
	}
	if kernel == "all" {
		o.kernels = kernels
		return nil
	}
	for _, k := range kernels {
		if k == kernel {
			o.kernels = []string{k}
			return nil
		}
	}
	return fmt.Errorf("-kernel %s: the kernels are %s and all", kernel, strings.Join(kernels, ", "))
}
