package health

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// parseMembers reads "a:10:up b:10:down c:10:? d:10:up:+5": ID, weight, state, and
// what results want: =N, +N, -N or N%.
func parseMembers(t testing.TB, text string) (members []Member) {
	t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		return n
	}
	for _, word := range strings.Fields(text) {
		part := strings.Split(word, ":")
		m := Member{ID: part[0], Weight: number(part[1])}
		m.State = map[string]State{"up": Up, "down": Down, "?": Unknown}[part[2]]
		if len(part) > 3 {
			switch w := part[3]; {
			case w[0] == '=':
				m.Change = Weight{SetWeight, number(w[1:])}
			case strings.HasSuffix(w, "%"):
				m.Change = Weight{ScaleWeight, number(strings.TrimSuffix(w, "%"))}
			default:
				m.Change = Weight{AddWeight, number(w)}
			}
		}
		members = append(members, m)
	}
	return members
}

// decided is a decision in one line: "a=10 b=0 up 10 sorry open next 3s".
func decided(d Decision) string {
	var words []string
	for _, s := range d.Serve {
		words = append(words, s.ID+"="+strconv.Itoa(s.Weight))
	}
	words = append(words, map[bool]string{true: "up", false: "down"}[d.Up], strconv.Itoa(d.Live))
	if d.Sorry {
		words = append(words, "sorry")
	}
	if d.Open {
		words = append(words, "open")
	}
	if !d.Next.IsZero() {
		words = append(words, "next "+d.Next.Sub(epoch).String())
	}
	return strings.Join(words, " ")
}

// step is what a pool is given at a time, and what it is to decide.
type step struct {
	at            time.Duration
	members, want string
}

func TestPolicy(t *testing.T) {
	for _, tt := range []struct {
		name   string
		policy Policy
		steps  []step
	}{
		{"the zero policy serves those that are live and removes the others", Policy{}, []step{
			{0, "a:1:up b:1:down c:1:?", "a=1 up 1"},
			{0, "a:1:down b:1:down c:1:?", "down 0"},
		}},
		{"the order is the one given", Policy{}, []step{{0, "c:1:up a:1:up b:1:up", "c=1 a=1 b=1 up 3"}}},
		{"of two with the same ID the first counts", Policy{}, []step{{0, "a:1:up a:9:down", "a=1 up 1"}}},
		{"a member without weight is served with 0 while it lives, and counts for nothing", Policy{}, []step{
			{0, "a:0:up b:-3:up c:0:up:=5", "a=0 b=0 c=0 down 0"},
			{0, "a:0:down b:1:up", "b=1 up 1"},
		}},
		{"results change the configured weight", Policy{}, []step{
			{0, "a:10:up:=3 b:10:up:+5 c:10:up:-4 d:10:up:50% e:10:up:1% f:10:up:0%", "a=3 b=15 c=6 d=5 e=1 f=0 up 30"},
		}},
		{"changes do not add up", Policy{}, []step{
			{0, "a:10:up:-4", "a=6 up 6"}, {1, "a:10:up:-4", "a=6 up 6"}, {2, "a:10:up:-3", "a=7 up 7"}, {3, "a:10:up", "a=10 up 10"},
		}},
		{"a weight is never below 0", Policy{}, []step{{0, "a:10:up:-11 b:10:up:=-1 c:10:up:-50%", "a=0 b=0 c=0 down 0"}}},
		{"what failed members want is not looked at", Policy{FailOpen: 1}, []step{{0, "a:10:down:=3 b:10:up:=3", "a=10 b=3 up 3 open"}}},

		{"a pool comes up at quorum and goes down below it", Policy{Quorum: 2}, []step{
			{0, "a:1:up b:1:?", "a=1 down 1"}, {0, "a:1:up b:1:up", "a=1 b=1 up 2"}, {0, "a:1:up b:1:down", "a=1 down 1"},
		}},
		{"with hysteresis it comes up at quorum+hysteresis and goes down below quorum-hysteresis", Policy{Quorum: 3, Hysteresis: 1}, []step{
			{0, "a:3:up", "a=3 down 3"},
			{0, "a:4:up", "a=4 up 4"},
			{0, "a:3:up", "a=3 up 3"},
			{0, "a:2:up", "a=2 up 2"},
			{0, "a:1:up", "a=1 down 1"},
			{0, "a:2:up", "a=2 down 2"},
			{0, "a:3:up", "a=3 down 3"},
			{0, "a:4:up", "a=4 up 4"},
		}},
		{"it goes down without any weight", Policy{Quorum: 2, Hysteresis: 1}, []step{
			{0, "a:3:up", "a=3 up 3"}, {0, "a:3:up:0%", "a=0 down 0"},
		}},
		{"weights that results have changed count", Policy{Quorum: 5}, []step{
			{0, "a:5:up", "a=5 up 5"}, {0, "a:5:up:-1", "a=4 down 4"}, {0, "a:1:up:=5", "a=5 up 5"},
		}},
		{"the sorry server serves alone while the pool is down", Policy{Quorum: 2, Sorry: true}, []step{
			{0, "a:1:up b:1:up", "a=1 b=1 up 2"}, {0, "a:1:up b:1:down", "down 1 sorry"}, {0, "a:1:up b:1:up", "a=1 b=1 up 2"},
		}},
		{"with inhibit its members keep weight 0", Policy{Quorum: 2, Sorry: true, Inhibit: true}, []step{
			{0, "a:1:up b:1:down", "a=0 b=0 down 1 sorry"},
		}},
		{"a new pool is down, so the sorry server serves until results are there", Policy{Sorry: true}, []step{
			{0, "a:1:? b:1:?", "down 0 sorry"}, {0, "a:1:up b:1:?", "a=1 up 1"},
		}},
		{"inhibit keeps what is not to serve with weight 0", Policy{Inhibit: true}, []step{
			{0, "a:5:up b:5:down c:5:?", "a=5 b=0 c=0 up 5"},
		}},

		{"below the share all serve", Policy{FailOpen: 0.5}, []step{
			{0, "a:1:up b:1:up c:1:down d:1:down", "a=1 b=1 up 2"},
			{0, "a:1:up b:1:down c:1:down d:1:down", "a=1 b=1 c=1 d=1 up 1 open"},
			{0, "a:1:down b:1:down c:1:down d:1:down", "a=1 b=1 c=1 d=1 down 0 open"},
			{0, "a:1:up b:1:up c:1:down d:1:down", "a=1 b=1 up 2"},
		}},
		{"members without a first result count as well", Policy{FailOpen: 0.5}, []step{
			{0, "a:1:? b:1:? c:1:?", "down 0"}, {0, "a:1:down b:1:? c:1:?", "down 0"}, {0, "a:1:down b:1:down c:1:?", "a=1 b=1 c=1 down 0 open"},
		}},
		{"members of which nothing is known any more do not", Policy{FailOpen: 0.5}, []step{
			{0, "a:1:up b:1:up", "a=1 b=1 up 2"}, {0, "a:1:? b:1:?", "a=1 b=1 down 0 open"},
		}},
		{"members without weight are in no share", Policy{FailOpen: 0.5}, []step{
			{0, "a:1:up b:0:down c:0:down", "a=1 up 1"}, {0, "a:1:down b:0:up c:0:up", "a=1 b=0 c=0 down 0 open"},
		}},
		{"a sorry server comes before fail-open", Policy{FailOpen: 0.5, Sorry: true}, []step{
			{0, "a:1:up b:1:down c:1:down", "a=1 b=1 c=1 up 1 open"}, {0, "a:1:down b:1:down c:1:down", "down 0 sorry"},
		}},

		{"no more than the share is out, and those that failed last stay", Policy{MaxEjected: 0.5}, []step{
			{0, "a:1:up b:1:up c:1:up d:1:up", "a=1 b=1 c=1 d=1 up 4"},
			{0, "a:1:up b:1:down c:1:up d:1:up", "a=1 c=1 d=1 up 3"},
			{0, "a:1:down b:1:down c:1:up d:1:up", "c=1 d=1 up 2"},
			{0, "a:1:down b:1:down c:1:down d:1:up", "c=1 d=1 up 1"},
			{0, "a:1:down b:1:down c:1:down d:1:down", "c=1 d=1 down 0"},
			{0, "a:1:down b:1:up c:1:down d:1:down", "b=1 d=1 up 1"},
		}},
		{"of those that failed at once the last given stay", Policy{MaxEjected: 0.5}, []step{{0, "b:1:down a:1:down", "a=1 down 0"}}},
		{"the share is rounded down", Policy{MaxEjected: 0.7}, []step{{0, "a:1:down b:1:down c:1:down", "c=1 down 0"}}},
		{"but it is at least one member", Policy{MaxEjected: 0.1}, []step{{0, "a:1:down b:1:down c:1:down", "b=1 c=1 down 0"}}},
		{"members without a first result have not failed", Policy{MaxEjected: 0.5}, []step{{0, "a:1:? b:1:? c:1:down", "down 0"}}},
		{"those of which nothing is known any more have", Policy{MaxEjected: 0.5}, []step{
			{0, "a:1:up b:1:up", "a=1 b=1 up 2"}, {0, "a:1:? b:1:up", "b=1 up 1"}, {0, "a:1:? b:1:?", "b=1 down 0"},
		}},
		{"those that stay have their configured weight", Policy{MaxEjected: 0.5}, []step{{0, "a:7:down:=3 b:8:down:=3", "b=8 down 0"}}},
		{"a sorry server comes before them", Policy{MaxEjected: 0.5, Sorry: true}, []step{{0, "a:1:down b:1:down", "down 0 sorry"}}},
		{"fail-open comes before them", Policy{MaxEjected: 0.5, FailOpen: 0.5}, []step{{0, "a:1:down b:1:down", "a=1 b=1 down 0 open"}}},

		{"what comes to live again starts slowly", Policy{SlowStart: 20 * time.Second}, []step{
			{0, "a:100:up", "a=100 up 100"},
			{0, "a:100:down", "down 0"},
			{5 * time.Second, "a:100:up", "a=10 up 100 next 6s"},
			{6*time.Second - 1, "a:100:up", "a=10 up 100 next 6s"},
			{6 * time.Second, "a:100:up", "a=14 up 100 next 7s"},
			{15 * time.Second, "a:100:up", "a=55 up 100 next 16s"},
			{25*time.Second - 1, "a:100:up", "a=95 up 100 next 25s"},
			{25 * time.Second, "a:100:up", "a=100 up 100"},
		}},
		{"a small weight takes fewer steps, and is never below 1", Policy{SlowStart: 20 * time.Second}, []step{
			{0, "a:2:down b:1:down", "down 0"}, {0, "a:2:up b:1:up", "a=1 b=1 up 3 next 20s"}, {20 * time.Second, "a:2:up b:1:up", "a=2 b=1 up 3"},
		}},
		{"the weight that results want is the whole", Policy{SlowStart: 20 * time.Second}, []step{
			{0, "a:100:down", "down 0"},
			{0, "a:100:up:50%", "a=5 up 50 next 1s"},
			{10 * time.Second, "a:100:up:+100", "a=110 up 200 next 11s"},
			{10 * time.Second, "a:100:up:0%", "a=0 down 0"},
		}},
		{"the quorum counts without slow start", Policy{SlowStart: 20 * time.Second, Quorum: 10, Sorry: true}, []step{
			{0, "a:10:down", "down 0 sorry"}, {0, "a:10:up", "a=1 up 10 next 3s"},
		}},
		{"a member that is Up when it is first seen does not start slowly", Policy{SlowStart: time.Minute}, []step{
			{0, "a:10:up", "a=10 up 10"}, {0, "a:10:up b:10:up", "a=10 b=10 up 20"},
		}},
		{"nor one of the first Decide whose first result it is", Policy{SlowStart: time.Minute}, []step{
			{0, "a:10:? b:10:?", "down 0"}, {time.Second, "a:10:up b:10:?", "a=10 up 10"}, {time.Second, "a:10:up b:10:up", "a=10 b=10 up 20"},
		}},
		{"one that was given later does", Policy{SlowStart: 20 * time.Second}, []step{
			{0, "a:10:up", "a=10 up 10"}, {0, "a:10:up b:10:?", "a=10 up 10"}, {0, "a:10:up b:10:up", "a=10 b=1 up 20 next 3s"},
		}},
		{"one that was served nevertheless does not", Policy{SlowStart: time.Minute, MaxEjected: 0.5}, []step{
			{0, "a:10:down b:10:down", "b=10 down 0"}, {0, "a:10:down b:10:up", "b=10 up 10"},
		}},
		{"nor does one that an open pool served", Policy{SlowStart: time.Minute, FailOpen: 0.5}, []step{
			{0, "a:10:down b:10:down", "a=10 b=10 down 0 open"}, {0, "a:10:up b:10:up", "a=10 b=10 up 20"},
		}},
		{"a slow start that is broken off begins anew", Policy{SlowStart: 20 * time.Second}, []step{
			{0, "a:100:down", "down 0"},
			{0, "a:100:up", "a=10 up 100 next 1s"},
			{10 * time.Second, "a:100:up", "a=55 up 100 next 11s"},
			{10 * time.Second, "a:100:down", "down 0"},
			{11 * time.Second, "a:100:up", "a=10 up 100 next 12s"},
		}},
		{"the next change is the first of all members'", Policy{SlowStart: 20 * time.Second}, []step{
			{0, "a:100:down b:100:down", "down 0"},
			{500 * time.Millisecond, "a:100:down b:100:up", "b=10 up 100 next 1.5s"},
			{time.Second, "a:100:up b:100:up", "a=10 b=10 up 200 next 1.5s"},
		}},
		{"members that are not given any more are forgotten", Policy{SlowStart: time.Minute}, []step{
			{0, "a:10:down b:10:up", "b=10 up 10"}, {0, "b:10:up", "b=10 up 10"}, {0, "a:10:up b:10:up", "a=10 b=10 up 20"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := NewPool(tt.policy)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range tt.steps {
				for range 2 {
					if got := decided(p.Decide(epoch.Add(s.at), parseMembers(t, s.members))); got != s.want {
						t.Fatalf("step %d: %s:\ngot  %s\nwant %s", i+1, s.members, got, s.want)
					}
				}
			}
		})
	}
}

func TestWrongPoliciesAreRefused(t *testing.T) {
	good, err := NewPool(Policy{Quorum: 2, Hysteresis: 1, FailOpen: 1, MaxEjected: 1})
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	for _, p := range []Policy{
		{Quorum: -1},
		{Hysteresis: -1},
		{Hysteresis: 1},
		{Quorum: 3, Hysteresis: 3},
		{FailOpen: -0.1},
		{FailOpen: 1.1},
		{FailOpen: nan},
		{MaxEjected: -0.1},
		{MaxEjected: 1.1},
		{MaxEjected: nan},
		{SlowStart: -1},
	} {
		var op *OpError
		if _, err := NewPool(p); !errors.Is(err, fs.ErrInvalid) || !errors.As(err, &op) {
			t.Errorf("%+v: %v, want an OpError of fs.ErrInvalid", p, err)
		}
		if err := good.Update(p); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("update to %+v: %v, want fs.ErrInvalid", p, err)
		}
	}
	if got := decided(good.Decide(epoch, parseMembers(t, "a:2:up"))); got != "a=2 down 2" {
		t.Errorf("after wrong updates it decides %q, want what the first policy says", got)
	}
}

func TestUpdateForgetsNothing(t *testing.T) {
	p, err := NewPool(Policy{Quorum: 2, SlowStart: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p.Decide(epoch, parseMembers(t, "a:100:down"))
	p.Decide(epoch, parseMembers(t, "a:100:up"))
	if err := p.Update(Policy{Quorum: 100, Hysteresis: 50, SlowStart: 10 * time.Second, Sorry: true}); err != nil {
		t.Fatal(err)
	}
	const want = "a=55 up 100 next 5.5s"
	if got := decided(p.Decide(epoch.Add(5*time.Second), parseMembers(t, "a:100:up"))); got != want {
		t.Errorf("got %q, want %q: it is up, though it would not come up, and goes on growing", got, want)
	}
}

func TestWeightsStayWithinWhatIPVSTakes(t *testing.T) {
	for _, tt := range []struct {
		w    Weight
		base int
		want int
	}{
		{Weight{AddWeight, math.MaxInt}, 1, math.MaxInt32},
		{Weight{AddWeight, math.MinInt}, math.MaxInt32, 0},
		{Weight{SetWeight, math.MaxInt}, 1, math.MaxInt32},
		{Weight{ScaleWeight, math.MaxInt}, math.MaxInt32, math.MaxInt32},
		{Weight{ScaleWeight, math.MinInt}, 5, 0},
		{Weight{KeepWeight, 7}, math.MaxInt, math.MaxInt32},
		{Weight{SetWeight, 7}, math.MinInt, 0},
		{Weight{WeightOp(99), 7}, 5, 5},
	} {
		if got := tt.w.apply(tt.base); got != tt.want {
			t.Errorf("%+v of %d is %d, want %d", tt.w, tt.base, got, tt.want)
		}
	}
}

func ExamplePool() {
	pool, err := NewPool(Policy{Quorum: 2, Sorry: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for _, second := range []State{Up, Down} {
		d := pool.Decide(now, []Member{
			{ID: "10.0.0.1:80", Weight: 1, State: Up},
			{ID: "10.0.0.2:80", Weight: 1, State: second},
		})
		fmt.Println(d.Serve, "up:", d.Up, "sorry:", d.Sorry)
	}
	// Output:
	// [{10.0.0.1:80 1} {10.0.0.2:80 1}] up: true sorry: false
	// [] up: false sorry: true
}

func ExamplePriority() {
	for _, nginx := range []State{Up, Down} {
		priority, fault := Priority(100, Term{Weight: -20, State: nginx})
		fmt.Println(priority, fault)
	}
	// Output:
	// 100 false
	// 80 false
}
