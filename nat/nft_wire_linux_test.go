package nat

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// What is read of the kernel may be anything that others have made there.
func FuzzNFTReadsAnything(f *testing.F) {
	w := &nftWire{table: "lvskit"}
	all := rules(f, manyKinds...)
	for _, r := range all {
		w.b = w.b[:0]
		w.rule(&r)
		f.Add(bytes.Clone(w.b))
		e := elements{w: w, command: unix.NFT_MSG_NEWSETELEM, set: "published4"}
		for p, to := range r.publishes() {
			w.b = w.b[:0]
			e.published(&r, p, to)
			f.Add(bytes.Clone(w.b[e.elem+unix.SizeofNlAttr:]))
		}
		w.b = w.b[:0]
		w.userData(0, "name "+r.Name, r.encode())
		f.Add(bytes.Clone(w.b[4:]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e element
		e.read(b)
		comment, ours := readUserData(e.user)
		if r, err := exactRule(e.key, e.value, comment); err == nil && r.Exact() && r.validate() == nil {
			found := false
			for p, to := range r.publishes() {
				found = found || bytes.Equal(appendEnd(nil, netip.AddrPortFrom(p.addr, p.port), p.protocol), e.key) && bytes.Equal(appendEnd(nil, to, 0), e.value)
			}
			if !found {
				t.Errorf("%x is not an element of %s", b, r)
			}
		}
		decodeRule(ours, comment)
		readUserData(b)
		sameSet(b, publishedForm(true))
		for _, r := range all {
			w := new(nftWire)
			w.rule(&r)
			sameRule(b, w.b)
			if same, _, _ := sameRule(w.b, w.b); !same {
				t.Errorf("%s is not itself", r)
			}
		}
	})
}
