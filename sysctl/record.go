package sysctl

import (
	"encoding/json"
	"fmt"
	"slices"
)

// record is the content of Config.Record: the changes of a program in one
// namespace since the machine booted, oldest first.
type record struct {
	Boot    string   `json:"boot"`
	NetNS   string   `json:"netns"`
	Changes []Change `json:"changes"`
}

// parseRecord reads a record. One of another boot or namespace says nothing
// about this one: it is as good as none. So is an empty file.
func parseRecord(data []byte, boot, ns string) (record, error) {
	r := record{Boot: boot, NetNS: ns}
	if len(data) == 0 {
		return r, nil
	}
	var old record
	if err := json.Unmarshal(data, &old); err != nil {
		return r, fmt.Errorf("the record of changes is damaged; remove it, and nothing is put back: %w", err)
	}
	if old.Boot == boot && old.NetNS == ns {
		r.Changes = old.Changes
	}
	return r, nil
}

func (r record) format() ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "\t")
	return append(data, '\n'), err
}

// with is the record with these changes at its end. A change that it has
// already moves there: a key that others set back again and again does not
// make it grow.
func (r record) with(changes []Change) record {
	r.Changes = slices.Clone(r.Changes)
	for _, c := range changes {
		r.Changes = slices.DeleteFunc(r.Changes, func(o Change) bool {
			return o.Key == c.Key && o.Old == c.Old && o.New == c.New && slices.Equal(o.Resets, c.Resets)
		})
		r.Changes = append(r.Changes, c)
	}
	return r
}

// without is the record without the keys of these changes, except for those
// that failed.
func (r record) without(changes []Change, failed []Key) record {
	keep := touching(r.Changes, failed)
	r.Changes = slices.DeleteFunc(slices.Clone(r.Changes), func(c Change) bool {
		same := func(o Change) bool { return canonical(o.Key) == canonical(c.Key) }
		return slices.ContainsFunc(changes, same) && !slices.ContainsFunc(keep, same)
	})
	return r
}

// touching are the changes of these keys, and those that reset one of them.
func touching(changes []Change, keys []Key) []Change {
	touches := func(k Key) bool {
		return slices.ContainsFunc(keys, func(o Key) bool { return canonical(o) == canonical(k) })
	}
	var found []Change
	for _, c := range changes {
		if touches(c.Key) || slices.ContainsFunc(c.Resets, func(r Reset) bool { return touches(r.Key) }) {
			found = append(found, c)
		}
	}
	return found
}
