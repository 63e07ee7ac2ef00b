package nat

import "testing"

func FuzzDecodeRule(f *testing.F) {
	for _, r := range rules(f, web, a, c,
		"snat: tcp source [2001:db8:1111:2222:3333:4444:5555:6660/126]:10000-20000 destination [2001:db8:1111:2222:3333:4444:5555:6660/126]:10000-20000 original [2001:db8:1111:2222:3333:4444:5555:6660/126]:10000-20000 out interface-name- to [2001:db8:1111:2222:3333:4444:5555:6666]:10000-20000 random",
	) {
		b := r.encode()
		if len(b) > 160 {
			f.Errorf("%d bytes for %s", len(b), r)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRule(b, "name")
		if err != nil {
			return
		}
		if again, err := decodeRule(r.encode(), "name"); err != nil || again != r {
			t.Errorf("%s reads as %s, %v", r, again, err)
		}
	})
}
