package ipvs

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestEveryErrorOfABatchArrives lets a whole batch fail, as large as a batch
// gets: all errors have to fit the receive buffer at once.
func TestEveryErrorOfABatchArrives(t *testing.T) {
	c, _ := kernel(t)
	must(t, c.AddService(background, Service{ID: tcpID("192.0.2.1:80"), Scheduler: RR}))
	changes := slices.Repeat([]Change{{
		Op: RemoveDestination, Service: Service{ID: tcpID("192.0.2.1:80")}, Destination: viaRoute("10.0.0.1:80", 0),
	}}, 5000)
	made, failed, err := c.execute(background, changes)
	if err != nil || len(made) != 0 || len(failed) != len(changes) {
		t.Errorf("%d made, %d failed, %v", len(made), len(failed), err)
	}
}

// TestErrorTruesize measures what an error costs of the receive buffer.
func TestErrorTruesize(t *testing.T) {
	c, _ := kernel(t)
	const n = 100
	must(t, c.exchange(background, func(conn *conn) error {
		conn.broken = true // its answers stay unread
		conn.enc.b = conn.enc.b[:0]
		for i := range n {
			conn.enc.change(conn.family, flagRequest, conn.seq+uint32(i), &Change{
				Op: RemoveService, Service: Service{ID: tcpID("192.0.2.1:80")},
			})
		}
		if err := conn.send(); err != nil {
			return err
		}
		var info [unix.SK_MEMINFO_VARS]uint32
		err := conn.raw.Control(func(fd uintptr) { socketMemory(int(fd), &info) })
		each := info[0] / n
		t.Logf("%d bytes an error, a buffer of %d takes %d, a batch has at most %d messages in %d bytes",
			each, info[1], info[1]/max(each, 1), conn.maxMessages, conn.maxBytes)
		if each == 0 || each > errorTruesize {
			t.Errorf("an error costs %d bytes, taken for %d", each, errorTruesize)
		}
		return err
	}))
}

// TestBatchGoesOnAfterErrors matches errors to their changes, wherever in a
// batch they are.
func TestBatchGoesOnAfterErrors(t *testing.T) {
	c, _ := kernel(t)
	const n = 3000 // several batches
	id := func(i int) ServiceID { return tcpID(benchAddr(10, i, 80).String()) }
	bad := func(i int) bool { return i == 0 || i == n-1 || i%7 == 3 || i >= 1000 && i < 1020 }
	var existing, changes []Change
	for i := range n {
		ch := Change{Op: AddService, Service: Service{ID: id(i), Scheduler: RR}}
		if bad(i) {
			existing = append(existing, ch)
		}
		changes = append(changes, ch)
	}
	doAll(t, c, AddService, existing)
	made, failed, err := c.execute(background, slices.Clone(changes))
	must(t, err)
	var wantMade, wantFailed []ServiceID
	for i := range n {
		if bad(i) {
			wantFailed = append(wantFailed, id(i))
		} else {
			wantMade = append(wantMade, id(i))
		}
	}
	if !slices.EqualFunc(made, wantMade, func(c Change, id ServiceID) bool { return c.Service.ID == id }) {
		t.Errorf("%d made, want %d", len(made), len(wantMade))
	}
	if !slices.EqualFunc(failed, wantFailed, func(f failure, id ServiceID) bool {
		return f.change.Service.ID == id && f.errno.errno == unix.EEXIST
	}) {
		t.Errorf("%d failed, want %d", len(failed), len(wantFailed))
	}
	if !errors.Is(failed.err(), fs.ErrExist) {
		t.Errorf("%v", failed.err())
	}
}

// TestCutOffExchange waits for an answer that does not come: the context cuts
// it off, and the next exchange, on another socket, is not confused by it.
func TestCutOffExchange(t *testing.T) {
	c, _ := kernel(t)
	for name, end := range map[string]func() (context.Context, context.CancelFunc){
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(background, 200*time.Millisecond)
		},
		"cancel": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(background)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		ctx, cancel := end()
		defer cancel()
		var used *conn
		err := c.exchange(background, func(conn *conn) error {
			used = conn
			mark := conn.begin(cmdFlush, 0) // without flagAck there is no answer
			_, err := conn.execute(ctx, cmdFlush, mark)
			return err
		})
		if !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
			t.Errorf("%s: %v, want %v", name, err, ctx.Err())
		}
		if _, err := c.Info(background); err != nil || c.conns[wide] == used {
			t.Errorf("%s: the exchange after it: %v, same socket %v", name, err, c.conns[wide] == used)
		}
	}
}

// TestWaitingForAnotherExchange gives up when its context ends.
func TestWaitingForAnotherExchange(t *testing.T) {
	c, _ := kernel(t)
	c.exchanging <- struct{}{}
	ctx, cancel := context.WithTimeout(background, 50*time.Millisecond)
	defer cancel()
	if _, err := c.Info(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	<-c.exchanging
	if _, err := c.Info(background); err != nil {
		t.Errorf("%v", err)
	}
}
