package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS asks a name server a question (RFC 1035). It passes if the answer is NOERROR
// and, with Answer, has a record of the type.
//
// The question goes over UDP, and, if the answer is truncated, once more over TCP
// within the same timeout. A message with another ID or another question is not the
// answer; the probe goes on waiting.
type DNS struct {
	// Addr is the name server.
	Addr   netip.AddrPort
	Source Source
	// TCP asks over TCP at once.
	TCP bool
	// Name is the name that is asked for, with or without its final dot; "" is the
	// root, as for keepalived. A resolver has to ask others for the root; for an
	// authoritative server it should be a zone of its own.
	Name string
	// Type is the type that is asked for; 0 means SOA, as for keepalived.
	Type DNSType
	// Answer wants at least one record of the type in the answer; an alias (CNAME)
	// that leads to none is not enough. Without it NOERROR is enough.
	Answer bool
	// NoRecursion asks for what the server itself knows (RD is 0).
	NoRecursion bool
}

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p DNS) Validate() error {
	if _, err := parseName(p.Name); err != nil {
		return opError("validate", p.object(), err)
	}
	return p.Source.validateAddrPort(p.Addr)
}

func (p DNS) object() string {
	name := strings.TrimSuffix(p.Name, ".") + "."
	return fmt.Sprintf("%s for %s %v", p.Addr, name, p.Type)
}

// Probe asks once. The Report is empty.
func (p DNS) Probe(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	return Report{}, opError("ask", p.object(), fault(p.probe(ctx)))
}

func (p DNS) probe(ctx context.Context) error {
	name, err := parseName(p.Name)
	if err != nil {
		return err
	}
	q := question{
		id:   uint16(rand.Uint32()),
		name: name, kind: dnsmessage.Type(p.Type.number()),
		recursion: !p.NoRecursion, answer: p.Answer,
	}
	query, err := q.pack()
	if err != nil {
		return invalid("%w", err)
	}
	if !p.TCP {
		err := p.askUDP(ctx, q, query)
		if !errors.Is(err, errTruncated) {
			return err
		}
	}
	return p.askTCP(ctx, q, query)
}

// askUDP waits for the answer among all that comes.
func (p DNS) askUDP(ctx context.Context, q question, query []byte) error {
	c, err := p.Source.dial(ctx, "udp", p.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(query); err != nil {
		return err
	}
	in := datagrams{conn: c, buf: make([]byte, maxDatagram)}
	foreign := 0
	for {
		msg, err := in.next()
		if err != nil {
			if foreign > 0 {
				err = fmt.Errorf("%w, but %d messages that are not the answer", err, foreign)
			}
			return err
		}
		if err := q.check(msg); !errors.Is(err, errForeign) {
			return err
		}
		foreign++
	}
}

// askTCP asks over a connection (RFC 7766), which ends by a reset when the answer is
// there, see TCP.Reset.
func (p DNS) askTCP(ctx context.Context, q question, query []byte) error {
	c, err := p.Source.dial(ctx, "tcp", p.Addr)
	if err != nil {
		return fmt.Errorf("over TCP: %w", err)
	}
	defer c.Close()
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return fmt.Errorf("over TCP: %w", err)
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return fmt.Errorf("over TCP: %w", unexpected(err))
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, msg); err != nil {
		return fmt.Errorf("over TCP: %w", unexpected(err))
	}
	_ = c.reset() // else it stays in TIME_WAIT, no harm
	err = q.check(msg)
	if errors.Is(err, errTruncated) {
		return fmt.Errorf("over TCP: %w", err)
	}
	return err
}
