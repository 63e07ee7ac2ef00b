package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/lvskit/lvskit/examples/internal/director"
	"github.com/lvskit/lvskit/internal/lab"
)

// dataplane is what forwards the connections, and what follows from it.
type dataplane struct {
	name    string // as in director -dataplane
	why     string // it was chosen
	forward string // of a service of a director's configuration
	sync    bool   // the directors tell each other of their connections
	answers string // in the picture: who answers the client

	// What is lost of requests, besides those that find nobody.
	takeOver, moveBack string
	table              func(c *cluster, director string) (table, error)
}

var (
	inKernel = dataplane{
		name: director.Kernel, why: "the kernel has IPVS, and this program may use it",
		forward: "dr", sync: true, answers: "they answer the client directly (DR).",
		takeOver: "nobody takes packets to the virtual address until the other director does",
		moveBack: "connections that were being opened while the address moved back to director1",
		table:    kernelTable,
	}
	inUserspace = dataplane{
		name:    director.Userspace,
		forward: "nat", answers: "they answer through that director.",
		takeOver: "nobody takes packets to the virtual address until the other director does, and the connections that the dead one had are gone with it",
		moveBack: "connections that were under way while the address moved back to director1: the engine of one director does not know those of the other",
		table:    metricsTable,
	}
)

// choose is the dataplane that is asked for, or with director.Auto the kernel
// where it may be used.
func choose(ctx context.Context, asked string) (dataplane, error) {
	chosen := inUserspace
	if asked == director.Userspace {
		chosen.why = "-dataplane says so"
		return chosen, nil
	}
	kernel, err := director.OpenKernel(ctx)
	switch missing := (*director.Missing)(nil); {
	case err == nil:
		return inKernel, kernel.Close()
	case asked == director.Kernel:
		return dataplane{}, fmt.Errorf("-dataplane kernel: %w\n%s", err, noKernel)
	case !errors.As(err, &missing):
		return dataplane{}, err
	default:
		chosen.why = missing.Error()
		return chosen, nil
	}
}

// noKernel is said where IPVS was asked for and is not to be had.
const noKernel = `
Without -dataplane the directors forward the connections themselves. A machine of its own, which is emulated, has ip_vs:

  go run ./internal/cmd/vmtest -exec quickstart
`

// rights gives this program networks of its own: an ordinary user's run goes on in
// a user namespace, see lab.Enter.
func rights() error {
	err := lab.Enter()
	var l *lab.Lab
	if err == nil {
		l, err = lab.New(lab.Config{})
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("it shows what Linux can do: run it there: %w", err)
	case err != nil:
		return fmt.Errorf("it needs no rights on this machine, but must be let make networks of its own (user namespaces):\n  %w\n%s", err, forbidden)
	}
	return l.Close()
}

// forbidden is said where it may not make any.
const forbidden = `
Any of these helps:
  - where ordinary users may not: be root (sudo), or as root allow it to all users:
      sysctl -w kernel.apparmor_restrict_unprivileged_userns=0   (Ubuntu since 23.10)
      sysctl -w kernel.unprivileged_userns_clone=1               (Debian before 11)
      sysctl -w user.max_user_namespaces=10000                   (where it is 0)
  - in a container of Docker or Podman: start it with --privileged
  - a machine of its own, which is emulated:
      go run ./internal/cmd/vmtest -exec quickstart
`
