package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
)

// SMTP asks whether a mail server takes part in a session (RFC 5321): it greets with
// 220, answers EHLO with 250 and QUIT with 221, in TLS if wanted. No mail is sent.
//
// A server that does not know EHLO (500, 502) is asked by HELO. Replies may have many
// lines, up to 100, of up to 2,048 bytes each.
type SMTP struct {
	// Addr is the server.
	Addr   netip.AddrPort
	Source Source
	// Hello is the name that we give ourselves; "" is the address that we send from, as
	// a literal: [192.0.2.1].
	Hello string
	// TLS makes the session secure, nil leaves it in the clear: by STARTTLS (RFC 3207),
	// which the server must offer then, or from the first byte if Implicit is true (RFC
	// 8314, port 465). For the Config see TLS.Config; without ServerName the certificate
	// is verified for Addr.
	TLS      *tls.Config
	Implicit bool
	// MinValidity is how long all certificates that the server shows must be valid
	// from now on; 0 asks for nothing beyond what TLS asks.
	MinValidity time.Duration
}

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p SMTP) Validate() error {
	switch {
	case strings.ContainsFunc(p.Hello, notPrintable) || len(p.Hello) > 255:
		return opError("validate", p.Addr.String(), invalid("Hello %s is no name", excerpt(p.Hello)))
	case p.Implicit && p.TLS == nil:
		return opError("validate", p.Addr.String(), invalid("Implicit needs TLS"))
	case p.MinValidity < 0 || p.MinValidity > 0 && p.TLS == nil:
		return opError("validate", p.Addr.String(), invalid("MinValidity is %v, and needs TLS", p.MinValidity))
	}
	return p.Source.validateAddrPort(p.Addr)
}

// Probe holds a session, see SMTP. With TLS the Report has Expires, also if the probe
// fails by a certificate.
func (p SMTP) Probe(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	c, err := p.Source.dial(ctx, "tcp", p.Addr)
	if err != nil {
		return Report{}, opError("connect", p.Addr.String(), err)
	}
	defer c.Close()
	s := &smtpSession{probe: p, conn: c, out: c, in: bufio.NewReaderSize(c, maxReplyLine)}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"handshake", s.implicit},
		{"greeting", s.greeting},
		{"EHLO", s.hello},
		{"STARTTLS", s.startTLS},
		{"QUIT", s.quit},
	} {
		if err := step.do(); err != nil {
			return s.report, opError(step.name, p.Addr.String(), fault(unexpected(err)))
		}
	}
	return s.report, nil
}

// smtpSession is what one probe says and hears.
type smtpSession struct {
	probe  SMTP
	conn   conn // below TLS
	out    io.Writer
	in     *bufio.Reader
	offers []string // lines of the reply to EHLO
	report Report
}

// implicit begins TLS at once.
func (s *smtpSession) implicit() error {
	if !s.probe.Implicit {
		return nil
	}
	return s.secure()
}

func (s *smtpSession) secure() (err error) {
	name := s.probe.Addr.Addr().WithZone("").String()
	secured, report, err := security{config: s.probe.TLS, name: name, validity: s.probe.MinValidity}.handshake(s.conn)
	s.report = report
	if err != nil {
		return err
	}
	s.out, s.in = secured, bufio.NewReaderSize(secured, maxReplyLine)
	return nil
}

func (s *smtpSession) greeting() error {
	reply, err := readReply(s.in)
	return reply.want(220, err)
}

// hello introduces us, as modern as the server allows.
func (s *smtpSession) hello() error {
	name := s.probe.Hello
	if name == "" {
		name = addressLiteral(s.conn.LocalAddr().String())
	}
	reply, err := s.command("EHLO " + name)
	if err == nil && (reply.code == 500 || reply.code == 502) {
		reply, err = s.command("HELO " + name)
	}
	s.offers = reply.lines
	return reply.want(250, err)
}

// addressLiteral is an address as it stands for a name (RFC 5321, section 4.1.3).
func addressLiteral(addrPort string) string {
	local, err := netip.ParseAddrPort(addrPort)
	switch addr := local.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "[127.0.0.1]"
	case addr.Is6():
		return "[IPv6:" + addr.String() + "]"
	default:
		return "[" + addr.String() + "]"
	}
}

// startTLS makes the session secure, and introduces us again (RFC 3207, section 4.2).
func (s *smtpSession) startTLS() error {
	if s.probe.TLS == nil || s.probe.Implicit {
		return nil
	}
	offered := false
	for _, line := range s.offers {
		offered = offered || strings.EqualFold(strings.TrimSpace(line), "STARTTLS")
	}
	if !offered {
		return errors.New("the server does not offer it")
	}
	reply, err := s.command("STARTTLS")
	if err := reply.want(220, err); err != nil {
		return err
	}
	if s.in.Buffered() > 0 { // it would be taken for a part of the secure session
		return errors.New("the server goes on in the clear")
	}
	if err := s.secure(); err != nil {
		return err
	}
	return s.hello()
}

func (s *smtpSession) quit() error {
	reply, err := s.command("QUIT")
	return reply.want(221, err)
}

func (s *smtpSession) command(line string) (smtpReply, error) {
	if _, err := io.WriteString(s.out, line+"\r\n"); err != nil {
		return smtpReply{}, fmt.Errorf("send: %w", err)
	}
	return readReply(s.in)
}
