package nat

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
	"github.com/lvskit/lvskit/internal/need"
)

func TestIPTablesNFTTellsOfChangesByOthersAlone(t *testing.T) {
	need.Program(t, "iptables-nft-restore", "nft")
	h := labtest.Host(t, labtest.New(t), "gateway")
	restoreAll(t, h, IPTablesNFT, others)
	table := tableOn(t, h, IPTablesNFT)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	news, ended := make(chan struct{}, 100), make(chan error, 1)
	go func() { ended <- table.b.watch(ctx, func() { news <- struct{}{} }) }()
	wait := func() (n int) {
		t.Helper()
		select {
		case <-news:
			n++
		case <-time.After(10 * time.Second):
			t.Fatal("no news")
		}
		return n
	}
	wait() // it listens
	spoil := func() { labtest.Run(t, h, "iptables-nft", "-t", "nat", "-D", "LVSKIT-POST", "1") }
	for _, step := range []func(){
		func() { _, err := table.Apply(t.Context(), rules(t, a)); must(t, err) },
		func() { _, err := table.Apply(t.Context(), rules(t, a, b)); must(t, err) },
		func() { labtest.Run(t, h, "iptables-nft", "-t", "nat", "-A", "DOCKER", "-p", "udp", "-j", "ACCEPT") },
		func() { labtest.Run(t, h, "iptables-nft", "-A", "INPUT", "-p", "udp", "-j", "ACCEPT") },
		func() { labtest.Run(t, h, "nft", "add table inet x; add chain inet x LVSKIT-POST") },
	} {
		step()
	}
	spoil()
	wait() // of this one; what came before has come before
	if n := len(news); n > 0 {
		t.Errorf("there are %d more news", n)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestRunPutsBackWhatIPTablesFlushes(t *testing.T) {
	eachVariant(t, func(t *testing.T, b Backend, h *lab.Host) {
		repaired := make(chan error, 10)
		table, err := Open(Config{NetNS: h.Path(), Backend: b, Interval: 100 * time.Millisecond, OnRepair: func(_ []Change, err error) { repaired <- err }})
		must(t, err)
		want := rules(t, ofEveryKind...)
		_, err = table.Apply(t.Context(), want)
		must(t, err)
		good := sorted(saved(t, h, b))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- table.Run(ctx) }()
		labtest.Run(t, h, b.String(), "-t", "nat", "-F")
		select {
		case err := <-repaired:
			must(t, err)
		case <-time.After(20 * time.Second):
			t.Fatal("it was not put back")
		}
		if now := sorted(saved(t, h, b)); now != good {
			t.Errorf("put back:\n%s\nwas:\n%s", now, good)
		}
		cancel()
		must(t, <-ended)
		must(t, table.Close())
	})
}
