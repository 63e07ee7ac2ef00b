package vip

import (
	"errors"
	"fmt"
	"testing"
)

// Each address of a batch has its own answer, and a failure stops no other.
func TestABatchFailsByTheAddress(t *testing.T) {
	both(t, func(t *testing.T, open func(*host, Config) *Manager) {
		h := newHost(t)
		h.ip("address add 10.0.0.7/32 dev eth0")
		h.ip("address add fd00::8/128 dev eth0")
		m := open(h, Config{})
		var changes []Change
		for i := range 2 * mostAtOnce {
			for _, a := range want(fmt.Sprintf("10.0.0.%d@eth0", i+1), fmt.Sprintf("fd00::%x@eth0", i+1)).normal().Addresses {
				changes = append(changes, Change{Op: AddAddress, Address: a})
			}
		}
		changes[0].Address.Interface = "gone0"
		err := m.session(func(k *kernel) error {
			for i, err := range k.addressesAtOnce(changes) {
				addr := changes[i].Address.Addr.String()
				if bad := i == 0 || addr == "10.0.0.7" || addr == "fd00::8"; bad != (err != nil) {
					t.Errorf("%s: %v", changes[i].object(), err)
				}
				if i > 0 && err != nil && !errors.Is(err, ErrForeign) {
					t.Errorf("%s: %v", changes[i].object(), err)
				}
			}
			return k.save()
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(h.prefixes("eth0")), len(changes)-1; got != want {
			t.Errorf("%d addresses, want %d", got, want)
		}
		h.release(m) // all but the foreign ones
		equal(t, "eth0", h.prefixes("eth0"), []string{"10.0.0.7/32", "fd00::8/128"})
	})
}
