package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http2/hpack"
)

// GRPC asks a gRPC server whether it serves, by the standard health service
// (grpc.health.v1.Health/Check, as in GRPC Health Checking Protocol of the gRPC
// project). Only SERVING passes.
//
// It fails if the server has no health service (UNIMPLEMENTED), or does not know
// Service (NOT_FOUND): the error says which. Each probe is one call over a connection
// of its own.
type GRPC struct {
	// Addr is the server.
	Addr   netip.AddrPort
	Source Source
	// Service is what is asked about, such as "shop.v1.Cart"; "" is the server as a
	// whole.
	Service string
	// Authority is the virtual host (:authority); "" is Addr. With TLS it is the name
	// that is asked for and verified.
	Authority string
	// TLS makes the connection secure, see HTTP.TLS; nil is HTTP/2 in the clear, by
	// prior knowledge, as gRPC calls it insecure.
	TLS *tls.Config
	// MinValidity is how long all certificates that the server shows must be valid
	// from now on; 0 asks for nothing beyond what TLS asks.
	MinValidity time.Duration
	// Reset closes the connection by a reset, see TCP.Reset. The server has answered by
	// then.
	Reset bool
}

const (
	grpcCheck = "/grpc.health.v1.Health/Check"
	// maxGRPC is how long a service's name, and an answer, may be. A plain answer has 2
	// bytes.
	maxGRPC = 4096
)

// Validate tells whether the fields make sense; the error matches fs.ErrInvalid, or
// errors.ErrUnsupported.
func (p GRPC) Validate() error {
	if len(p.Service) > maxGRPC || !utf8.ValidString(p.Service) {
		return opError("validate", p.Addr.String(), invalid("Service %s is longer than %d bytes, or no UTF-8", excerpt(p.Service), maxGRPC))
	}
	if err := (URL{Host: p.Authority}).validate(); err != nil {
		return opError("validate", p.Addr.String(), err)
	}
	return p.carrier().Validate()
}

// carrier is the HTTP below.
func (p GRPC) carrier() HTTP {
	return HTTP{Addr: p.Addr, Source: p.Source, Version: HTTP2, TLS: p.TLS, MinValidity: p.MinValidity}
}

// object is the call for errors.
func (p GRPC) object() string {
	object := p.Addr.String() + grpcCheck
	if p.Service != "" {
		object += " of " + p.Service
	}
	return object
}

// Probe calls once. The Report has Expires with TLS, also if the probe fails by the
// certificate.
func (p GRPC) Probe(ctx context.Context) (report Report, err error) {
	if err := p.Validate(); err != nil {
		return Report{}, fault(err)
	}
	report, err = p.probe(ctx)
	return report, opError("call", p.object(), fault(err))
}

func (p GRPC) probe(ctx context.Context) (report Report, err error) {
	c, err := p.Source.dial(ctx, "tcp", p.Addr)
	if err != nil {
		return report, fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	if p.Reset {
		if err := c.reset(); err != nil {
			return report, inconclusive(err)
		}
	}
	var stream io.ReadWriter = c
	if p.TLS != nil {
		secured, told, err := p.carrier().security(URL{Host: p.Authority}).handshake(c)
		if err != nil {
			return told, fmt.Errorf("handshake: %w", err)
		}
		defer secured.Close()
		report, stream = told, secured
	}
	return report, p.call(stream)
}

func (p GRPC) header() []hpack.HeaderField {
	http := p.carrier()
	return []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: http.scheme()},
		{Name: ":path", Value: grpcCheck},
		{Name: ":authority", Value: http.authority(URL{Host: p.Authority})},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
		{Name: "user-agent", Value: "lvskit"},
	}
}

// call asks and reads the answer.
func (p GRPC) call(c io.ReadWriter) error {
	s, err := openStream2(c, p.header(), grpcRequest(p.Service))
	if err != nil {
		return err
	}
	header, err := grpcHeader(s)
	if err != nil {
		return unexpected(err)
	}
	if s.ended { // a failure needs no message: Trailers-Only
		if err := grpcStatus(header); err != nil {
			return err
		}
		return errNoMessage
	}
	body, err := io.ReadAll(io.LimitReader(s, maxGRPC+1))
	switch {
	case err != nil:
		return unexpected(err)
	case len(body) > maxGRPC:
		return fmt.Errorf("the answer has more than %d bytes", maxGRPC)
	}
	if err := grpcStatus(s.trailer); err != nil {
		return err
	}
	return grpcServing(body)
}

// grpcHeader reads the header of the answer.
func grpcHeader(s *stream2) ([]hpack.HeaderField, error) {
	for range maxInterim {
		fields, err := s.readHeaders()
		if err != nil {
			return nil, err
		}
		status, err := status2(fields)
		kind := field(fields, "content-type")
		switch {
		case err != nil:
			return nil, err
		case status/100 == 1:
			continue
		case status != 200:
			return nil, fmt.Errorf("the server does not speak gRPC there: status %d, want 200", status)
		case kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+") && !strings.HasPrefix(kind, "application/grpc;"):
			return nil, fmt.Errorf("the server does not speak gRPC there: its answer is of the type %s", excerpt(kind))
		}
		return fields, nil
	}
	return nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

// field is the value of the first field of a name.
func field(fields []hpack.HeaderField, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}
