package health

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// stride is the number of bytes that are a moment of FuzzPool.
const stride = 4

// FuzzPool lives through a history and checks what holds in all of them.
func FuzzPool(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		seed := make([]byte, 5+stride*(10+r.IntN(100)))
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 5 {
			return
		}
		policy := Policy{
			Quorum: int(data[0] % 30), Sorry: data[1]&1 > 0, Inhibit: data[1]&2 > 0,
			FailOpen: float64(data[2]%5) / 4, MaxEjected: float64(data[3]%5) / 4, SlowStart: time.Duration(data[4]%4) * 7 * time.Second,
		}
		policy.Hysteresis = int(data[1]>>2) % max(policy.Quorum, 1)
		h := &history{t: t, policy: policy, pool: mustPool(t, policy)}
		for data = data[5:]; len(data) >= stride; data = data[stride:] {
			h.turn([stride]byte(data))
		}
	})
}

func mustPool(t testing.TB, p Policy) *Pool {
	t.Helper()
	pool, err := NewPool(p)
	if err != nil {
		t.Fatal(err)
	}
	return pool
}

// history is a pool with what it was given.
type history struct {
	t       *testing.T
	policy  Policy
	pool    *Pool
	now     time.Duration
	members []Member
	last    Decision
	quiet   bool // the last turn changed nothing but the time
	seen    bool // there was a turn
}

// turn changes something, decides, and checks.
func (h *history) turn(b [stride]byte) {
	h.now += time.Duration(b[0]%16) * 250 * time.Millisecond
	before := slices.Clone(h.members)
	h.change(b)
	h.quiet = slices.Equal(before, h.members)
	now := epoch.Add(h.now)
	d := h.pool.Decide(now, h.members)
	if again := h.pool.Decide(now, h.members); !reflect.DeepEqual(d, again) {
		h.t.Fatalf("asked twice: %s, then %s", decided(d), decided(again))
	}
	h.ordered(d)
	h.quorate(d)
	h.ejects(d)
	h.grows(d)
	if !d.Next.IsZero() {
		h.foretold(d, now)
	}
	h.last, h.seen = d, true
}

// change is of one member: it comes, goes, or has another state or weight.
func (h *history) change(b [stride]byte) {
	id := string(rune('a' + b[1]%8))
	i := slices.IndexFunc(h.members, func(m Member) bool { return m.ID == id })
	m := Member{ID: id, Weight: int(b[2]%8) * 3, State: State(b[3] % 3), Change: Weight{WeightOp(b[3] >> 2 % 4), int(int8(b[2]))}}
	switch {
	case b[1] >= 128: // nothing but the time
	case i < 0:
		h.members = append(h.members, m)
	case b[1] >= 120:
		h.members = slices.Delete(h.members, i, i+1)
	case b[1] >= 64:
		h.members[i] = m
	default:
		h.members[i].State = m.State
	}
}

// ordered: members are there once, in their order, with weights that IPVS takes.
func (h *history) ordered(d Decision) {
	at := -1
	for _, s := range d.Serve {
		i := slices.IndexFunc(h.members, func(m Member) bool { return m.ID == s.ID })
		if i <= at {
			h.t.Fatalf("%s: %s is out of order among %+v", decided(d), s.ID, h.members)
		}
		at = i
		if s.Weight < 0 {
			h.t.Fatalf("%s: a weight below 0", decided(d))
		}
	}
	if h.policy.Inhibit && len(d.Serve) != len(h.members) {
		h.t.Fatalf("%s: a member was removed from %+v", decided(d), h.members)
	}
}

// quorate: up and down are those of keepalived, so nothing flaps in between.
func (h *history) quorate(d Decision) {
	sum, quorum := 0, max(h.policy.Quorum, 1)
	for _, m := range h.members {
		if m.State == Up {
			sum += m.Change.apply(m.Weight)
		}
	}
	threshold := quorum + h.policy.Hysteresis
	if h.last.Up {
		threshold = quorum - h.policy.Hysteresis
	}
	if want := sum > 0 && sum >= threshold; d.Up != want || d.Live != sum {
		h.t.Fatalf("%s: up is %v of %d, want %v of %d", decided(d), d.Up, d.Live, want, sum)
	}
	if d.Sorry != (h.policy.Sorry && !d.Up) {
		h.t.Fatalf("%s: the sorry server", decided(d))
	}
}

// ejects: no more are out because they failed than the policy allows, and live
// ones never are.
func (h *history) ejects(d Decision) {
	if d.Sorry {
		if slices.ContainsFunc(d.Serve, func(s Share) bool { return s.Weight > 0 }) {
			h.t.Fatalf("%s: a member beside the sorry server", decided(d))
		}
		return
	}
	counted, out := 0, 0
	for _, m := range h.members {
		served := slices.ContainsFunc(d.Serve, func(s Share) bool { return s.ID == m.ID && s.Weight > 0 })
		if m.State == Up && m.Change.apply(m.Weight) > 0 && !served {
			h.t.Fatalf("%s: %s lives and is not served", decided(d), m.ID)
		}
		if m.Weight <= 0 {
			continue
		}
		counted++
		if m.State == Down && !served {
			out++
		}
		if d.Open && !served && !(m.State == Up && m.Change.apply(m.Weight) == 0) {
			h.t.Fatalf("%s: the pool is open and %s is not served", decided(d), m.ID)
		}
	}
	share := h.policy.MaxEjected
	if share == 0 {
		share = 1
	}
	if limit := max(1, int(share*float64(counted))); out > limit {
		h.t.Fatalf("%s: %d of %d are out, at most %d may be", decided(d), out, counted, limit)
	}
}

// grows: where nothing but time changes, no weight falls, and what serves stays.
func (h *history) grows(d Decision) {
	if !h.quiet || !h.seen {
		return
	}
	if len(d.Serve) != len(h.last.Serve) {
		h.t.Fatalf("%s after %s: time alone changed it", decided(d), decided(h.last))
	}
	for i, s := range d.Serve {
		if s.ID != h.last.Serve[i].ID || s.Weight < h.last.Serve[i].Weight {
			h.t.Fatalf("%s after %s: time alone changed it", decided(d), decided(h.last))
		}
	}
}

// foretold: until Next nothing changes, and then something does.
func (h *history) foretold(d Decision, now time.Time) {
	if !d.Next.After(now) {
		h.t.Fatalf("%s at %v: the next change is not later", decided(d), h.now)
	}
	if got := h.pool.Decide(d.Next.Add(-1), h.members); !slices.Equal(got.Serve, d.Serve) {
		h.t.Fatalf("%s at %v: before that it is %s", decided(d), h.now, decided(got))
	}
	if got := h.pool.Decide(d.Next, h.members); slices.Equal(got.Serve, d.Serve) {
		h.t.Fatalf("%s at %v: then nothing changes", decided(d), h.now)
	}
}
