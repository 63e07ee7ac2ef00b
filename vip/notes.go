package vip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// notes is what the kernel cannot remember for us, kept in a file per mark and
// network namespace. It is written before the kernel is changed, so that after
// a kill it may name what was not done, but never misses what was.
type notes struct {
	Boot      string         `json:"boot"` // the file is void after a reboot
	Settings  []notedSetting `json:"settings,omitempty"`
	Ports     []GUE          `json:"ports,omitempty"`
	Addresses []notedAddress `json:"addresses,omitempty"` // kernels before 5.18
}

type notedSetting struct {
	Index int `json:"ifindex"` // 0 is "all"
	Key   Key `json:"key"`
	Was   int `json:"was"`
	Set   int `json:"set"`
}

type notedAddress struct {
	Index  int          `json:"ifindex"`
	Prefix netip.Prefix `json:"prefix"`
	Label  string       `json:"label,omitempty"`
}

// maxNotes bounds what is read: some 10,000 entries.
const maxNotes = 1 << 20

var errNotes = errors.New("not a run file of vip")

// decodeNotes reads a run file. Notes of another boot are empty notes.
func decodeNotes(data []byte, boot string) (notes, error) {
	none := notes{Boot: boot}
	if len(data) > maxNotes {
		return none, fmt.Errorf("%w: larger than %d bytes", errNotes, maxNotes)
	}
	var n notes
	if err := json.Unmarshal(data, &n); err != nil {
		return none, fmt.Errorf("%w: %w", errNotes, err)
	}
	if n.Boot != boot || boot == "" {
		return none, nil
	}
	for _, s := range n.Settings {
		if keys[s.Key] == 0 || !validIndex(s.Index, 0) || !fits32(s.Was) || !fits32(s.Set) {
			return none, fmt.Errorf("%w: setting %+v", errNotes, s)
		}
	}
	for _, a := range n.Addresses {
		if !validIndex(a.Index, 1) || !a.Prefix.IsValid() || a.Prefix.Addr().Is4In6() || len(a.Label) > maxName {
			return none, fmt.Errorf("%w: address %+v", errNotes, a)
		}
	}
	return n, nil
}

func validIndex(index, least int) bool { return index >= least && index <= math.MaxInt32 }

func fits32(v int) bool { return v >= math.MinInt32 && v <= math.MaxInt32 }

func (n *notes) encode() ([]byte, error) { return json.Marshal(n) }

// empty tells whether the file can go.
func (n *notes) empty() bool { return len(n.Settings)+len(n.Ports)+len(n.Addresses) == 0 }

func (n *notes) setting(index int, key Key) *notedSetting {
	for i := range n.Settings {
		if n.Settings[i].Index == index && n.Settings[i].Key == key {
			return &n.Settings[i]
		}
	}
	return nil
}

// noteSetting notes a change of a setting. The first original stays.
func (n *notes) noteSetting(s notedSetting) {
	if have := n.setting(s.Index, s.Key); have != nil {
		have.Set = s.Set
		return
	}
	n.Settings = append(n.Settings, s)
}

func (n *notes) dropSetting(index int, key Key) {
	n.Settings = slices.DeleteFunc(n.Settings, func(s notedSetting) bool { return s.Index == index && s.Key == key })
}

func (n *notes) notePort(port GUE) {
	if !slices.Contains(n.Ports, port) {
		n.Ports = append(n.Ports, port)
	}
}

func (n *notes) dropPort(port GUE) {
	n.Ports = slices.DeleteFunc(n.Ports, func(p GUE) bool { return p == port })
}

func (n *notes) noteAddress(a notedAddress) {
	if !slices.Contains(n.Addresses, a) {
		n.Addresses = append(n.Addresses, a)
	}
}

func (n *notes) dropAddress(index int, prefix netip.Prefix) {
	n.Addresses = slices.DeleteFunc(n.Addresses, func(a notedAddress) bool { return a.Index == index && a.Prefix == prefix })
}

// dropInterface drops what was noted of an interface that has gone, and tells
// whether that was something.
func (n *notes) dropInterface(index int) bool {
	before := len(n.Settings) + len(n.Addresses)
	n.Settings = slices.DeleteFunc(n.Settings, func(s notedSetting) bool { return s.Index == index })
	n.Addresses = slices.DeleteFunc(n.Addresses, func(a notedAddress) bool { return a.Index == index })
	return len(n.Settings)+len(n.Addresses) < before
}

// owns tells whether the notes say that an address is ours.
func (n *notes) owns(p Present) bool {
	return slices.ContainsFunc(n.Addresses, func(a notedAddress) bool {
		return a.Index == p.Index && a.Prefix == p.Prefix() && (p.Addr.Is6() || a.Label == "" || a.Label == p.Label)
	})
}

// prune drops what notes say about interfaces and addresses that are no more.
func (n *notes) prune(links []Link, present []Present) {
	index := map[int]bool{0: true}
	for _, link := range links {
		index[link.Index] = true
	}
	n.Settings = slices.DeleteFunc(n.Settings, func(s notedSetting) bool { return !index[s.Index] })
	n.Addresses = slices.DeleteFunc(n.Addresses, func(a notedAddress) bool {
		return !slices.ContainsFunc(present, func(p Present) bool { return p.Index == a.Index && p.Prefix() == a.Prefix })
	})
}
