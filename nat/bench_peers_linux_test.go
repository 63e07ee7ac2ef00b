package nat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-iptables/iptables"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/netns"
)

func newOurs(b *testing.B, h *lab.Host, backend Backend) (*contestant, error) {
	ctx := context.Background()
	t, err := Open(Config{NetNS: h.Path(), Backend: backend})
	if err != nil {
		return nil, err
	}
	b.Cleanup(func() { t.Close() })
	return &contestant{
		replace: func(rules []Rule) func() error {
			return func() error {
				_, err := t.Apply(ctx, rules)
				return err
			}
		},
		add:    func(r Rule) func() error { return func() error { return t.Add(ctx, r) } },
		remove: func(r Rule) func() error { return func() error { return t.Remove(ctx, r) } },
		list: func() (int, error) {
			list, err := t.List(ctx)
			return len(list), err
		},
	}, nil
}

// programs runs programs on a host.
type programs struct {
	ns      string
	watched bool
	most    uint64 // memory of the last one that was watched, in bytes
}

func (p *programs) run(stdin []byte, name string, args ...string) (stdout []byte, err error) {
	err = netns.Do(p.ns, func() error {
		var out, errs bytes.Buffer
		cmd := exec.Command(name, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &errs
		err := cmd.Start()
		if err == nil {
			stop := p.watch(cmd.Process.Pid)
			err = cmd.Wait()
			stop()
		}
		if err != nil {
			return fmt.Errorf("%s %q: %w: %s", name, args, err, errs.Bytes())
		}
		stdout = out.Bytes()
		return nil
	})
	return stdout, err
}

// watch looks at a program every millisecond. What wait4 tells has the memory that
// this process had when it started the program.
func (p *programs) watch(pid int) (stop func()) {
	if !p.watched {
		return func() {}
	}
	p.most = 0
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for tick := time.NewTicker(time.Millisecond); ; {
			if kb, err := readKB(fmt.Sprintf("/proc/%d/status", pid), "VmHWM"); err == nil {
				p.most = max(p.most, kb)
			}
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// one is a run of a program that prints nothing.
func (p *programs) one(stdin []byte, name string, args ...string) func() error {
	return func() error {
		_, err := p.run(stdin, name, args...)
		return err
	}
}

// benchChain is the chain of iptables or the table of nft that peers have.
const benchChain = "BENCH"

// specification is a rule in the words of iptables.
func specification(r Rule) []string {
	return []string{
		"-d", r.Destination.Addr().String() + "/32", "-p", "tcp", "-m", "tcp", "--dport", r.DestinationPort.String(),
		"-j", "DNAT", "--to-destination", r.To.String() + ":" + r.ToPort.String(),
	}
}

// newIPTables is the programs of iptables, with a chain of its own to which the two
// built-in ones go.
func newIPTables(h *lab.Host, variant string) (*contestant, error) {
	p := &programs{ns: h.Path()}
	one := func(op string, r Rule) func() error {
		return p.one(nil, variant, append([]string{"-w", "-t", "nat", op, benchChain}, specification(r)...)...)
	}
	c := &contestant{
		replace: func(rules []Rule) func() error {
			var text bytes.Buffer
			fmt.Fprintf(&text, "*nat\n:%s - [0:0]\n", benchChain)
			for _, r := range rules {
				fmt.Fprintf(&text, "-A %s %s\n", benchChain, strings.Join(specification(r), " "))
			}
			text.WriteString("COMMIT\n")
			return p.one(text.Bytes(), variant+"-restore", "--noflush", "-w")
		},
		add:    func(r Rule) func() error { return one("-A", r) },
		remove: func(r Rule) func() error { return one("-D", r) },
		list: func() (int, error) {
			out, err := p.run(nil, variant+"-save", "-c", "-t", "nat")
			return bytes.Count(out, []byte(" -A "+benchChain)), err
		},
		programs: p,
	}
	_, err := p.run(nil, variant, "-w", "-t", "nat", "-N", benchChain)
	for _, from := range []string{"PREROUTING", "OUTPUT"} {
		_, err2 := p.run(nil, variant, "-w", "-t", "nat", "-A", from, "-j", benchChain)
		err = errors.Join(err, err2)
	}
	return c, err
}

// newGoIPTables is github.com/coreos/go-iptables, which has no way to change many
// rules at once. It shares the chain of newIPTables.
func newGoIPTables(h *lab.Host, variant string) (*contestant, error) {
	var t *iptables.IPTables
	in := func(f func() error) func() error { return func() error { return netns.Do(h.Path(), f) } }
	err := in(func() (err error) {
		t, err = iptables.New(iptables.Path(variant))
		return err
	})()
	return &contestant{
		slow: true,
		replace: func(rules []Rule) func() error {
			return in(func() error {
				err := t.ClearChain("nat", benchChain)
				for _, r := range rules {
					err = errors.Join(err, t.Append("nat", benchChain, specification(r)...))
				}
				return err
			})
		},
		add: func(r Rule) func() error {
			return in(func() error { return t.Append("nat", benchChain, specification(r)...) })
		},
		remove: func(r Rule) func() error {
			return in(func() error { return t.Delete("nat", benchChain, specification(r)...) })
		},
		list: func() (n int, err error) {
			err = in(func() error {
				list, err := t.ListWithCounters("nat", benchChain)
				n = len(list) - 1 // the chain itself
				return err
			})()
			return n, err
		},
	}, err
}
