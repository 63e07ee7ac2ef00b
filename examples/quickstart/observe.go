package main

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/lvskit/lvskit/internal/lab"
)

// look is how often the directors' tables are read.
const look = 50 * time.Millisecond

// observer sees the cluster from outside: who is Active is who advertises it
// on the network, and the pool is what is in that director's table.
type observer struct {
	silence time.Duration // after which nobody is Active
	capture *lab.Capture
	tables  map[string]table // by director

	mu      sync.Mutex // guards what follows
	adverts []advert
	pool    []string
}

// advert is an advertisement of a director, as it was on the network.
type advert struct {
	at   time.Time // of the wall clock
	from string
}

// view is the cluster at one moment.
type view struct {
	active string   // the Active director, "" if there is none
	pool   []string // the web servers that get requests
}

func newObserver(c *cluster) (o *observer, err error) {
	o = &observer{silence: bound(c.interval, 0), tables: map[string]table{}}
	for _, d := range directors {
		if o.tables[d.name], err = c.plane.table(c, d.name); err != nil {
			o.close()
			return nil, err
		}
	}
	if o.capture, err = c.tap.Capture(isAdvertisement); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *observer) close() {
	for _, t := range o.tables {
		if t != nil {
			t.Close()
		}
	}
	if o.capture != nil {
		o.capture.Close()
	}
}

// run looks until ctx ends.
func (o *observer) run(ctx context.Context) {
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() { o.listen(ctx) })
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		active := o.now().active
		if pool, ok := o.read(ctx, active); ok || active == "" {
			o.mu.Lock()
			o.pool = pool
			o.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// listen keeps the advertisements.
func (o *observer) listen(ctx context.Context) {
	for {
		frame, err := o.capture.Next(ctx)
		if err != nil {
			return // of ctx, or of the lab
		}
		from := directorOf(frame.Data)
		o.mu.Lock()
		o.adverts = append(o.adverts, advert{frame.Time, from})
		o.mu.Unlock()
	}
}

// isAdvertisement tells the frames of VRRP over IPv4 from others. A frame with
// priority 0 says that its sender is not Active any more.
func isAdvertisement(frame []byte) bool {
	const ethernet, protocol = 14, 14 + 9
	if len(frame) < ethernet+20 || binary.BigEndian.Uint16(frame[12:]) != 0x0800 || frame[protocol] != 112 {
		return false
	}
	header := ethernet + int(frame[ethernet]&0xf)*4
	return len(frame) > header+2 && frame[header+1] == vrid && frame[header+2] != 0
}

// directorOf is the sender of an advertisement.
func directorOf(frame []byte) string {
	addr, _ := netip.AddrFromSlice(frame[14+12 : 14+16])
	for _, d := range directors {
		if d.addr == addr {
			return d.name
		}
	}
	return addr.String()
}

// read lists the web servers in a director's table that get requests; false if
// there is no such table.
func (o *observer) read(ctx context.Context, director string) (pool []string, ok bool) {
	if t := o.tables[director]; t != nil {
		return t.read(ctx)
	}
	return nil, false
}

func (o *observer) now() view {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := view{pool: slices.Clone(o.pool)}
	if n := len(o.adverts); n > 0 && time.Since(o.adverts[n-1].at) < o.silence {
		v.active = o.adverts[n-1].from
	}
	return v
}

// takeOver is the last advertisement of a director and the first one of another
// after it; false if there is no such pair.
func (o *observer) takeOver(from string) (last, first advert, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.adverts) - 1; i > 0; i-- {
		last, first = o.adverts[i-1], o.adverts[i]
		if last.from == from && first.from != from {
			return last, first, true
		}
	}
	return advert{}, advert{}, false
}
