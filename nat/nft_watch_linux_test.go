package nat

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mustTell waits for a call of tell.
func mustTell(t testing.TB, tells <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-tells:
	case <-time.After(10 * time.Second):
		t.Fatal("not told of " + what)
	}
}

func TestNFTTellsOfChangesByOthersAlone(t *testing.T) {
	table, h := nftTable(t)
	other := nftOpen(t, h)
	ctx, stop := context.WithCancel(t.Context())
	tells, ended := make(chan struct{}, 1000), make(chan error, 1)
	go func() { ended <- table.b.watch(ctx, func() { tells <- struct{}{} }) }()
	mustTell(t, tells, "the beginning")
	all := rules(t, manyKinds...)
	_, err := table.Apply(t.Context(), all[1:])
	must(t, err)
	must(t, table.Add(t.Context(), all[0]))
	must(t, table.Remove(t.Context(), all[1]))
	nftDo(t, table, func(b *batch) {
		b.table = "others"
		b.tableMessage(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE)
		b.newChain("prerouting", &baseChains[0].hook)
		b.newRule("prerouting", 0, b.counter, "", nil)
	})
	// What comes next comes behind what those might have told.
	must(t, other.Remove(t.Context(), all[2]))
	mustTell(t, tells, "a rule that another removed")
	if n := len(tells); n > 0 {
		t.Errorf("told of %d changes more", n)
	}
	must(t, table.Add(t.Context(), all[1]))
	must(t, other.Clear(t.Context()))
	mustTell(t, tells, "a table that another removed")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// More news than fit are news as well.
func TestNFTTellsOfNewsThatAreLost(t *testing.T) {
	table, h := nftTable(t)
	other := nftOpen(t, h)
	ctx, stop := context.WithCancel(t.Context())
	tells, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- table.b.watch(ctx, func() {
			select {
			case tells <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	mustTell(t, tells, "the beginning")
	_, err := other.Apply(t.Context(), services(20_000, "10.0.0.1"))
	must(t, err)
	mustTell(t, tells, "too much")
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// If the kernel refuses one part of a change, nothing is changed.
func TestNFTDoesAllOrNothing(t *testing.T) {
	table, h := nftTable(t)
	want := rules(t, manyKinds...)
	_, err := table.Apply(t.Context(), want)
	must(t, err)
	n := table.b.(*nft)
	s, err := n.current(t.Context())
	must(t, err)
	gone := want[len(want)-1]
	must(t, n.needHandles(t.Context(), s, true))
	s.nft.handles.set(&gone, 0, 1<<40)
	changes := []Change{{RemoveRule, want[0]}, {RemoveRule, gone}}
	for _, r := range services(1000, "10.0.0.1") {
		changes = append(changes, Change{AddRule, r})
	}
	if err := n.write(t.Context(), s, changes, nil); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), gone.String()) {
		t.Errorf("write: %v", err)
	}
	_, err = n.current(t.Context())
	must(t, err)
	sameAsFresh(t, table, h, want)
}

// A change that is too big for the socket says so.
func TestNFTSaysThatAChangeIsTooBig(t *testing.T) {
	for _, errno := range []error{unix.EMSGSIZE, unix.ENOBUFS} {
		if err := explainSend(errno, 123456); !errors.Is(err, errno) || !strings.Contains(err.Error(), "123456 bytes") || !strings.Contains(err.Error(), "wmem_max") {
			t.Error(err)
		}
	}
}
