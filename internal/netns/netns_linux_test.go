package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/lvskit/lvskit/internal/need"
	"github.com/lvskit/lvskit/internal/netns"
)

// namespace is the identity of the calling thread's network namespace.
func namespace(t *testing.T) string {
	t.Helper()
	id, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Error(err)
	}
	return id
}

func newNS(t *testing.T) string {
	t.Helper()
	need.Root(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return fmt.Sprintf("/proc/self/fd/%d", ns.Fd())
}

func TestDoRunsInTheNamespaceAndComesBack(t *testing.T) {
	path := newNS(t)
	home := namespace(t)
	want := errors.New("what fn returns")
	var inside string
	var links []net.Interface
	err := netns.Do(path, func() (err error) {
		inside = namespace(t)
		if links, err = net.Interfaces(); err != nil {
			return err
		}
		return want
	})
	if err != want {
		t.Errorf("Do returned %v, want the error of fn", err)
	}
	if inside == home || namespace(t) != home {
		t.Errorf("home is %s, inside was %s, now %s", home, inside, namespace(t))
	}
	// Beside lo it may have the devices that loaded tunnel modules give to all.
	if len(links) == 0 || links[0].Name != "lo" || links[0].Flags&net.FlagUp != 0 {
		t.Errorf("a new namespace has the links %v, want lo first, and down", links)
	}
}

func TestDoOfTheEmptyPathStaysOnTheThread(t *testing.T) {
	home := namespace(t)
	if err := netns.Do("", func() error {
		if got := namespace(t); got != home {
			t.Errorf("moved from %s to %s", home, got)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestDoOfManyAtOnce(t *testing.T) {
	paths := []string{newNS(t), newNS(t), newNS(t)}
	seen := make([]map[string]bool, len(paths))
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, path := range paths {
		seen[i] = map[string]bool{}
		for range 20 {
			wg.Go(func() {
				if err := netns.Do(path, func() error {
					mu.Lock()
					defer mu.Unlock()
					seen[i][namespace(t)] = true
					return nil
				}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	all := map[string]bool{}
	for i := range seen {
		if len(seen[i]) != 1 {
			t.Errorf("namespace %d was seen as %v", i, seen[i])
		}
		for id := range seen[i] {
			all[id] = true
		}
	}
	if len(all) != len(paths) {
		t.Errorf("%d namespaces were seen as %v", len(paths), all)
	}
}

func TestDoPassesAPanicOn(t *testing.T) {
	path := newNS(t)
	want := errors.New("of fn")
	defer func() {
		if got, _ := recover().(error); !errors.Is(got, want) {
			t.Errorf("recovered %v, want the panic of fn", got)
		}
	}()
	_ = netns.Do(path, func() error { panic(want) })
	t.Error("Do returned")
}

func TestDoPassesTheEndOfTheGoroutineOn(t *testing.T) {
	path := newNS(t)
	done, returned := make(chan struct{}), false
	go func() {
		defer close(done)
		_ = netns.Do(path, func() error { runtime.Goexit(); return nil })
		returned = true
	}()
	<-done
	if returned {
		t.Error("Do returned")
	}
}

// TestTheFirstThreadStays looks from outside at the namespace of the process,
// which is that of its first thread, while many threads are moved.
func TestTheFirstThreadStays(t *testing.T) {
	path := newNS(t)
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			err := netns.Do(path, func() error {
				if now, err := os.Readlink("/proc/self/ns/net"); err != nil || now != home {
					t.Errorf("the process is in %s (%v), want %s", now, err, home)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestDoOfWhatIsNoNamespace(t *testing.T) {
	never := func() error { t.Error("fn ran"); return nil }
	if err := netns.Do("/nowhere/blue", never); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent path answered %v, want fs.ErrNotExist", err)
	}
	need.Root(t)
	if err := netns.Do("/dev/null", never); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("/dev/null answered %v, want fs.ErrInvalid", err)
	}
	if err := netns.Do("/proc/self/ns/uts", never); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a namespace of another kind answered %v, want fs.ErrInvalid", err)
	}
}
