package nat

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"net/netip"
)

// index finds rules of a list by what they are. A map of rules does that too, but
// hashes and copies 240 bytes for each, several times as slow.
type index struct {
	seed  maphash.Seed
	first map[uint64]int32 // by hash: the place in the list
	rest  []int32          // those whose hash another one has
}

func newIndex(size int) *index {
	return &index{seed: maphash.MakeSeed(), first: make(map[uint64]int32, size)}
}

// find is the place of a rule in the list, -1 if it is not there.
func (x *index) find(list []Rule, r *Rule) int {
	if i, ok := x.first[x.hash(r)]; ok && list[i] == *r {
		return int(i)
	}
	for _, i := range x.rest {
		if list[i] == *r {
			return int(i)
		}
	}
	return -1
}

// add puts the rule at a place of the list in. It is not in yet.
func (x *index) add(list []Rule, place int) { x.put(place, x.hash(&list[place])) }

// enter is add, unless an equal one is in.
func (x *index) enter(list []Rule, place int) bool {
	h := x.hash(&list[place])
	if i, ok := x.first[h]; ok && (list[i] == list[place] || x.find(list, &list[place]) >= 0) {
		return false
	}
	x.put(place, h)
	return true
}

func (x *index) put(place int, hash uint64) {
	if _, ok := x.first[hash]; ok {
		x.rest = append(x.rest, int32(place))
		return
	}
	x.first[hash] = int32(place)
}

// remove takes out the rule at a place of the list.
func (x *index) remove(list []Rule, place int) {
	h := x.hash(&list[place])
	if x.first[h] == int32(place) {
		delete(x.first, h)
		return
	}
	for i, p := range x.rest {
		if p == int32(place) {
			x.rest = append(x.rest[:i], x.rest[i+1:]...)
			return
		}
	}
}

// hash mixes what tells rules apart. Equal hashes of different rules cost time and
// nothing else.
func (x *index) hash(r *Rule) uint64 {
	h := maphash.String(x.seed, r.Name)
	mix := func(v uint64) {
		hi, lo := bits.Mul64(h^v, 0x9e3779b97f4a7c15)
		h = hi ^ lo
	}
	network := func(p *netip.Prefix) {
		if p.IsValid() {
			a := p.Addr().As16()
			mix(binary.LittleEndian.Uint64(a[:]) + uint64(p.Bits()))
			mix(binary.LittleEndian.Uint64(a[8:]))
		}
		mix(1)
	}
	ports := func(p, q Ports) {
		mix(uint64(p.First) | uint64(p.Last)<<16 | uint64(q.First)<<32 | uint64(q.Last)<<48)
	}
	mix(uint64(r.Action) | uint64(r.Family)<<8 | uint64(r.Protocol)<<16)
	ports(r.SourcePort, r.DestinationPort)
	ports(r.OriginalPort, r.ToPort)
	network(&r.Source)
	network(&r.Destination)
	network(&r.Original)
	network(&r.Hairpin)
	if r.To.IsValid() {
		a := r.To.As16()
		mix(binary.LittleEndian.Uint64(a[:]))
		mix(binary.LittleEndian.Uint64(a[8:]))
	}
	for _, s := range [...]string{r.In, r.Out} {
		if s != "" {
			mix(maphash.String(x.seed, s))
		}
		mix(2)
	}
	return h
}
