package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// TLS asks whether a server completes a TLS handshake, with a certificate that is
// good, and how long that will last: Report.Expires is the end of the first
// certificate of its chain that ends, also when the probe fails by the certificate.
//
// It fails if the connection or the handshake fails, which includes a version below
// Config.MinVersion and a certificate that does not verify (then the error matches
// *tls.CertificateVerificationError); if none of Config.NextProtos is chosen; and if a
// certificate ends within MinValidity. The handshake is all that is exchanged.
type TLS struct {
	// Addr is the server.
	Addr   netip.AddrPort
	Source Source
	// Config is how to talk. nil is the zero Config, which verifies the certificate by
	// the roots of the system, for ServerName or, without that, for the address itself
	// (then no server name is sent). With InsecureSkipVerify any certificate is
	// good. If there are NextProtos (ALPN, RFC 7301), the server must choose one. It
	// is shared, so it must not be changed any more.
	Config *tls.Config
	// MinValidity is how long all certificates that the server shows must be valid
	// from now on, verified or not. 0 asks for nothing beyond what Config asks.
	MinValidity time.Duration
}

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p TLS) Validate() error {
	if p.MinValidity < 0 {
		return opError("validate", p.Addr.String(), invalid("MinValidity is %v", p.MinValidity))
	}
	return p.Source.validateAddrPort(p.Addr)
}

// Probe connects and shakes hands, see TLS. The Report has Expires.
func (p TLS) Probe(ctx context.Context) (Report, error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	c, err := p.Source.dial(ctx, "tcp", p.Addr)
	if err != nil {
		return Report{}, opError("connect", p.Addr.String(), err)
	}
	defer c.Close()
	secured, report, err := security{config: p.Config, name: p.Addr.Addr().WithZone("").String(), validity: p.MinValidity}.handshake(c)
	if err != nil {
		return report, opError("handshake", p.Addr.String(), fault(err))
	}
	_ = secured.Close() // says goodbye; the handshake was what mattered
	return report, nil
}

// security is how a prober makes a connection secure.
type security struct {
	config   *tls.Config // nil is the zero Config
	name     string      // of the server, unless config has one
	protos   []string    // ALPN; nil leaves it to config
	lenient  bool        // the server need not choose one
	validity time.Duration
}

// handshake makes c secure, and reports when its certificates end.
func (s security) handshake(c conn) (*tls.Conn, Report, error) {
	config := s.config.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName = s.name
	}
	if s.protos != nil {
		config.NextProtos = s.protos
	}
	secured := tls.Client(c, config)
	if err := secured.Handshake(); err != nil { // c ends with its context
		var report Report
		var unverified *tls.CertificateVerificationError
		if errors.As(err, &unverified) {
			report.Expires = expiry(unverified.UnverifiedCertificates)
		}
		return nil, report, handshakeError(err)
	}
	state := secured.ConnectionState()
	report := Report{Expires: expiry(state.PeerCertificates)}
	if len(config.NextProtos) > 0 && !s.lenient && !slices.Contains(config.NextProtos, state.NegotiatedProtocol) {
		return nil, report, fmt.Errorf("the server has chosen none of the protocols %q", config.NextProtos)
	}
	now := time.Now
	if config.Time != nil {
		now = config.Time
	}
	if left := report.Expires.Sub(now()); s.validity > 0 && left < s.validity {
		return nil, report, fmt.Errorf("a certificate ends at %s, want at least %v more, has %v",
			report.Expires.UTC().Format(time.RFC3339), s.validity, left.Round(time.Second))
	}
	return secured, report, nil
}

// handshakeError words what is no TLS at all.
func handshakeError(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return fmt.Errorf("the server does not speak TLS: %w", err)
	}
	return unexpected(err)
}

// expiry is when the first of the certificates ends.
func expiry(certificates []*x509.Certificate) time.Time {
	var first time.Time
	for _, c := range certificates {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}
