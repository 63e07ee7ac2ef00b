package vip

import "testing"

// FuzzMessages reads what no kernel sends.
func FuzzMessages(f *testing.F) {
	f.Add([]byte{2, 32, 0x80, 0, 2, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 1, 8, 0, 2, 0, 10, 0, 0, 1, 5, 0, 11, 0, 86, 0, 0, 0, 8, 0, 8, 0, 0x80, 0, 0, 0})
	f.Add([]byte{10, 128, 0x80, 0, 2, 0, 0, 0, 20, 0, 1, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{2, 32, 0, 0, 2, 0, 0, 0, 3, 0, 1, 0})
	f.Fuzz(func(t *testing.T, msg []byte) {
		p, err := parseAddress(msg)
		if err == nil && !p.Addr.IsValid() {
			t.Error("an address without an address")
		}
		_, _ = parseLink(msg)
	})
}
