package nat

import (
	"encoding/binary"
	"io/fs"
	"net/netip"
)

// errNotOurs is what a rule in our table is that we did not write.
var errNotOurs error = &OpError{Op: "read", Err: fs.ErrInvalid}

// encode is a rule without its name in at most 160 bytes: the text can be too long
// for what the kernel keeps of a rule's user data (256 bytes).
func (r Rule) encode() []byte {
	random := byte(0)
	if r.Random {
		random = 1
	}
	b := []byte{byte(r.Action), byte(r.Family), byte(r.Protocol), random}
	for _, p := range []Ports{r.SourcePort, r.DestinationPort, r.OriginalPort, r.ToPort} {
		b = binary.BigEndian.AppendUint16(b, p.First)
		b = binary.BigEndian.AppendUint16(b, p.Last)
	}
	for _, p := range []netip.Prefix{r.Source, r.Destination, r.Original, r.Hairpin, prefixOf(r.To)} {
		field, _ := p.MarshalBinary()
		b = append(append(b, byte(len(field))), field...)
	}
	for _, name := range []string{r.In, r.Out} {
		b = append(append(b, byte(len(name))), name...)
	}
	return b
}

// decodeRule reads what encode wrote, and nothing else.
func decodeRule(b []byte, name string) (Rule, error) {
	const fixed = 4 + 4*4
	if len(b) < fixed || b[3] > 1 {
		return Rule{}, errNotOurs
	}
	r := Rule{Name: name, Action: Action(b[0]), Family: Family(b[1]), Protocol: Protocol(b[2]), Random: b[3] == 1}
	for i, p := range []*Ports{&r.SourcePort, &r.DestinationPort, &r.OriginalPort, &r.ToPort} {
		at := b[4+4*i:]
		*p = Ports{binary.BigEndian.Uint16(at), binary.BigEndian.Uint16(at[2:])}
	}
	b = b[fixed:]
	field := func() []byte {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			b = nil
			return nil
		}
		f := b[1 : 1+b[0]]
		b = b[1+b[0]:]
		return f
	}
	var to netip.Prefix
	for _, p := range []*netip.Prefix{&r.Source, &r.Destination, &r.Original, &r.Hairpin, &to} {
		if err := p.UnmarshalBinary(field()); err != nil {
			return Rule{}, errNotOurs
		}
	}
	r.To = to.Addr()
	r.In, r.Out = string(field()), string(field())
	if b == nil || len(b) > 0 || r.validate() != nil {
		return Rule{}, errNotOurs
	}
	return r, nil
}
