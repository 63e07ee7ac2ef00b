package health

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// DNSType is a type of resource records, as IANA numbers them (RFC 1035 section
// 3.2.2 and later). As text it is the name, or as "TYPE65" (RFC 3597) the number.
type DNSType uint16

// The zero DNSType stands for DNSTypeSOA, which every zone has once.
const (
	DNSTypeA      DNSType = 1
	DNSTypeNS     DNSType = 2
	DNSTypeCNAME  DNSType = 5
	DNSTypeSOA    DNSType = 6
	DNSTypePTR    DNSType = 12
	DNSTypeMX     DNSType = 15
	DNSTypeTXT    DNSType = 16
	DNSTypeAAAA   DNSType = 28
	DNSTypeSRV    DNSType = 33
	DNSTypeDS     DNSType = 43
	DNSTypeRRSIG  DNSType = 46
	DNSTypeDNSKEY DNSType = 48
	DNSTypeSVCB   DNSType = 64
	DNSTypeHTTPS  DNSType = 65
	DNSTypeANY    DNSType = 255
	DNSTypeCAA    DNSType = 257
)

var dnsTypes = map[DNSType]string{
	DNSTypeA: "A", DNSTypeNS: "NS", DNSTypeCNAME: "CNAME", DNSTypeSOA: "SOA", DNSTypePTR: "PTR", DNSTypeMX: "MX",
	DNSTypeTXT: "TXT", DNSTypeAAAA: "AAAA", DNSTypeSRV: "SRV", DNSTypeDS: "DS", DNSTypeRRSIG: "RRSIG",
	DNSTypeDNSKEY: "DNSKEY", DNSTypeSVCB: "SVCB", DNSTypeHTTPS: "HTTPS", DNSTypeANY: "ANY", DNSTypeCAA: "CAA",
}

// number is the type as it is asked for.
func (t DNSType) number() DNSType {
	if t == 0 {
		return DNSTypeSOA
	}
	return t
}

// String is the name of the type.
func (t DNSType) String() string {
	t = t.number()
	if name, ok := dnsTypes[t]; ok {
		return name
	}
	return "TYPE" + strconv.Itoa(int(t))
}

// MarshalText is String.
func (t DNSType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a name, or TYPE and a number from 1 to 65535, in upper or
// lower case.
func (t *DNSType) UnmarshalText(text []byte) error {
	word := strings.ToUpper(string(text))
	for number, name := range dnsTypes {
		if name == word {
			*t = number
			return nil
		}
	}
	if number, ok := strings.CutPrefix(word, "TYPE"); ok {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil && n > 0 {
			*t = DNSType(n)
			return nil
		}
	}
	return invalid("DNS type %s: want A, AAAA, SOA, ..., or TYPE1 to TYPE65535", excerpt(text))
}

// rcodes are the answers in words (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
var rcodes = map[dnsmessage.RCode]string{
	1: "FORMERR: the server cannot read the question",
	2: "SERVFAIL: the server cannot answer",
	3: "NXDOMAIN: there is no such name",
	4: "NOTIMP: the server does not answer such questions",
	5: "REFUSED: the server does not answer us",
	6: "YXDOMAIN", 7: "YXRRSET", 8: "NXRRSET",
	9: "NOTAUTH: the server does not answer for this zone",
}

// question is a DNS query, and what its answer has to be.
type question struct {
	id        uint16
	name      dnsmessage.Name
	kind      dnsmessage.Type
	recursion bool
	answer    bool // a record of the type is wanted
}

// parseName is a domain name with its final dot.
func parseName(text string) (dnsmessage.Name, error) {
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	name, err := dnsmessage.NewName(text)
	if err != nil || len(text) > 254 {
		return name, invalid("name %s is longer than 254 bytes", excerpt(text))
	}
	if text == "." {
		return name, nil
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if label == "" || len(label) > 63 {
			return name, invalid("name %s: its parts have 1 to 63 bytes", excerpt(text))
		}
	}
	return name, nil
}

// pack is the query as it is sent. parseName has checked what it is made of.
func (q question) pack() ([]byte, error) {
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.id, RecursionDesired: q.recursion},
		Questions: []dnsmessage.Question{{Name: q.name, Type: q.kind, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

var (
	// errForeign is that a message is not the answer to our question.
	errForeign = errors.New("it is not the answer to our question")
	// errTruncated is that the answer does not fit into a datagram.
	errTruncated = errors.New("the answer is truncated")
	errNoAnswer  = errors.New("it has no such record")
)

// check says what a message means as the answer: nil is that all is in order.
func (q question) check(msg []byte) error {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.ID != q.id || !h.Response || h.OpCode != 0 {
		return errForeign
	}
	asked, err := p.Question()
	switch {
	case errors.Is(err, dnsmessage.ErrSectionDone) && h.RCode != dnsmessage.RCodeSuccess:
		// A server that cannot read a question cannot repeat it.
	case err != nil, !q.echoes(asked):
		return errForeign
	}
	if h.RCode != dnsmessage.RCodeSuccess {
		if words, ok := rcodes[h.RCode]; ok {
			return errors.New(words)
		}
		return fmt.Errorf("the server answers with RCODE %d", h.RCode)
	}
	if h.Truncated {
		return errTruncated
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return errForeign // there was one question
	}
	return q.answers(&p)
}

func (q question) echoes(asked dnsmessage.Question) bool {
	return asked.Type == q.kind && asked.Class == dnsmessage.ClassINET && strings.EqualFold(asked.Name.String(), q.name.String())
}

// answers looks for a record of the type.
func (q question) answers(p *dnsmessage.Parser) error {
	found := false
	for {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err == nil {
			err = p.SkipAnswer()
		}
		if err != nil {
			return fmt.Errorf("the answer is malformed: %w", err)
		}
		found = found || h.Class == dnsmessage.ClassINET && (h.Type == q.kind || q.kind == dnsmessage.Type(DNSTypeANY))
	}
	if q.answer && !found {
		return errNoAnswer
	}
	return nil
}
