package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	server "google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// grpcServer is gRPC's own server on a port of this machine.
func grpcServer(t testing.TB, register func(*grpc.Server), options ...grpc.ServerOption) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestGRPCOfGRPC(t *testing.T) {
	health := server.NewServer()
	addr := grpcServer(t, func(s *grpc.Server) { pb.RegisterHealthServer(s, health) })
	health.SetServingStatus("shop", pb.HealthCheckResponse_SERVING)
	health.SetServingStatus("bank", pb.HealthCheckResponse_NOT_SERVING)
	health.SetServingStatus("new", pb.HealthCheckResponse_UNKNOWN)
	long := strings.Repeat("s", maxGRPC)
	health.SetServingStatus(long, pb.HealthCheckResponse_SERVING)

	judge(t, GRPC{Addr: addr}, verdict{})
	judge(t, GRPC{Addr: addr, Reset: true}, verdict{})
	judge(t, GRPC{Addr: addr, Service: "shop", Authority: "shop.example.org"}, verdict{})
	judge(t, GRPC{Addr: addr, Service: long}, verdict{})
	judge(t, GRPC{Addr: addr, Service: "bank"}, verdict{"the service is NOT_SERVING", nil})
	judge(t, GRPC{Addr: addr, Service: "new"}, verdict{"the service is UNKNOWN", nil})
	judge(t, GRPC{Addr: addr, Service: "absent"}, verdict{`NOT_FOUND: the server does not know the service: it says "unknown service"`, nil})
	health.Shutdown()
	judge(t, GRPC{Addr: addr, Service: "shop"}, verdict{"the service is NOT_SERVING", nil})
	judge(t, GRPC{Addr: addr, TLS: &tls.Config{InsecureSkipVerify: true}}, verdict{"TLS", nil})

	none := grpcServer(t, func(*grpc.Server) {})
	judge(t, GRPC{Addr: none}, verdict{"UNIMPLEMENTED: the server has no health service", nil})
}

// answering is a health service of a fixed answer.
type answering struct {
	pb.UnimplementedHealthServer
	fn func(context.Context) (*pb.HealthCheckResponse, error)
}

func (a answering) Check(ctx context.Context, _ *pb.HealthCheckRequest) (*pb.HealthCheckResponse, error) {
	return a.fn(ctx)
}

func TestGRPCOfOddServices(t *testing.T) {
	for _, tt := range []struct {
		name string
		fn   func(context.Context) (*pb.HealthCheckResponse, error)
		want verdict
	}{
		{"hangs", func(ctx context.Context) (*pb.HealthCheckResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, verdict{"no answer in time", context.DeadlineExceeded}},
		{"fails", func(context.Context) (*pb.HealthCheckResponse, error) {
			return nil, status.Error(14, "no database: 100 % full\n")
		}, verdict{`UNAVAILABLE: it says "no database: 100 % full\n"`, nil}},
		{"fails unheard of", func(context.Context) (*pb.HealthCheckResponse, error) { return nil, status.Error(77, "") }, verdict{"code 77", nil}},
		{"fails without a word", func(context.Context) (*pb.HealthCheckResponse, error) { return nil, status.Error(7, "") }, verdict{"PERMISSION_DENIED", nil}},
		{"has another status", func(context.Context) (*pb.HealthCheckResponse, error) {
			return &pb.HealthCheckResponse{Status: 99}, nil
		}, verdict{"unknown status 99", nil}},
		{"has a negative status", func(context.Context) (*pb.HealthCheckResponse, error) {
			return &pb.HealthCheckResponse{Status: -1}, nil
		}, verdict{"unknown status 18446744073709551615", nil}},
		{"says it at length", func(context.Context) (*pb.HealthCheckResponse, error) {
			r := &pb.HealthCheckResponse{Status: pb.HealthCheckResponse_SERVING}
			r.ProtoReflect().SetUnknown(append([]byte{0x12, 0x80, 0x7d}, make([]byte, 16000)...))
			return r, nil
		}, verdict{"more than 4096 bytes", nil}},
		{"says more than it is asked", func(context.Context) (*pb.HealthCheckResponse, error) {
			r := &pb.HealthCheckResponse{Status: pb.HealthCheckResponse_SERVING}
			r.ProtoReflect().SetUnknown([]byte{0x12, 3, 1, 2, 3, 0x18, 5, 0x25, 1, 2, 3, 4, 0x29, 1, 2, 3, 4, 5, 6, 7, 8})
			return r, nil
		}, verdict{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := grpcServer(t, func(s *grpc.Server) { pb.RegisterHealthServer(s, answering{fn: tt.fn}) })
			judge(t, GRPC{Addr: addr}, tt.want)
		})
	}
}

func TestGRPCOverTLS(t *testing.T) {
	n := newNotary(t)
	ends := second(time.Now().Add(48 * time.Hour))
	cert := n.server(ends, "shop.example.org")
	addr := grpcServer(t, func(s *grpc.Server) { pb.RegisterHealthServer(s, server.NewServer()) },
		grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
	p := GRPC{Addr: addr, Authority: "shop.example.org:443", TLS: &tls.Config{RootCAs: n.roots}}
	if report := judge(t, p, verdict{}); !report.Expires.Equal(ends) {
		t.Errorf("the certificate ends at %v, want %v", report.Expires, ends)
	}
	p.MinValidity = 72 * time.Hour
	if report := judge(t, p, verdict{"a certificate ends", nil}); !report.Expires.Equal(ends) {
		t.Errorf("the certificate ends at %v, want %v", report.Expires, ends)
	}
	p.MinValidity, p.Authority = 0, "bank.example.org"
	judge(t, p, verdict{"bank.example.org", nil})
	p.TLS = nil
	judge(t, p, verdict{"the server closed the connection", nil})
}

func TestGRPCOfServersThatAreNone(t *testing.T) {
	headers := func(flags byte, pairs ...string) string {
		return frame(frameSettings, 0, 0, "") + frame(frameHeaders, flags|flagEndHeaders, 1, fields(t, pairs...))
	}
	good := headers(0, ":status", "200", "content-type", "application/grpc")
	end := frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, "grpc-status", "0"))
	data := func(text string) string { return frame(frameData, 0, 1, text) }
	answer := "\x00\x00\x00\x00\x02\x08\x01"
	for _, tt := range []struct {
		name, text string
		want       verdict
	}{
		{"good", good + data(answer) + end, verdict{}},
		{"in pieces", good + data(answer[:2]) + data(answer[2:6]) + data("") + data(answer[6:]) + end, verdict{}},
		{"another type of message", headers(0, ":status", "200", "content-type", "application/grpc+proto") + data(answer) + end, verdict{}},
		{"after an interim answer", headers(0, ":status", "103") + frame(frameHeaders, flagEndHeaders, 1, fields(t, ":status", "200", "content-type", "application/grpc")) + data(answer) + end, verdict{}},
		{"a web server", headers(0, ":status", "200", "content-type", "text/html"), verdict{`type "text/html"`, nil}},
		{"no type", headers(0, ":status", "200"), verdict{"type nothing", nil}},
		{"a web server without it", headers(flagEndStream, ":status", "404"), verdict{"status 404, want 200", nil}},
		{"no status", good + data(answer) + frame(frameData, flagEndStream, 1, ""), verdict{"no grpc-status", nil}},
		{"no status in the trailers", good + data(answer) + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, "x", "0")), verdict{"no grpc-status", nil}},
		{"a status that is none", good + data(answer) + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, "grpc-status", "-0")), verdict{`"-0", no number`, nil}},
		{"success in the header", headers(flagEndStream, ":status", "200", "content-type", "application/grpc", "grpc-status", "0"), verdict{"without an answer", nil}},
		{"failure in the header", headers(flagEndStream, ":status", "200", "content-type", "application/grpc", "grpc-status", "5"), verdict{"NOT_FOUND", nil}},
		{"no message", good + end, verdict{"without an answer", nil}},
		{"two messages", good + data(answer+answer) + end, verdict{"no single message", nil}},
		{"half a message", good + data(answer[:6]) + end, verdict{"no single message", nil}},
		{"compressed", good + data("\x01"+answer[1:]) + end, verdict{"compressed", nil}},
		{"an empty message", good + data("\x00\x00\x00\x00\x00") + end, verdict{"the service is UNKNOWN", nil}},
		{"a huge message", good + data("\x00\xff\xff\xff\xff"+strings.Repeat("\x08\x01", 4000)) + end, verdict{"more than 4096 bytes", nil}},
		{"a reset", good + frame(frameReset, 0, 1, "\x00\x00\x00\x08"), verdict{"has reset the stream", nil}},
		{"the end", good + data(answer), verdict{"closed the connection", nil}},
		{"HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n", verdict{"does not speak HTTP/2", nil}},
		{"nothing", "", verdict{"closed the connection", nil}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr := serve(t, func(c net.Conn) {
				buf := make([]byte, 1<<16)
				_, _ = c.Read(buf)
				_, _ = c.Write([]byte(tt.text))
				_ = c.(*net.TCPConn).CloseWrite()
				hold(c)
			})
			judge(t, GRPC{Addr: addr}, tt.want)
		})
	}
	judge(t, GRPC{Addr: serve(t, hold)}, verdict{"no answer in time", context.DeadlineExceeded})
	judge(t, GRPC{Addr: serve(t, func(c net.Conn) { drip(c, good+strings.Repeat(frame(framePing, 0, 0, "12345678"), 1000)) })},
		verdict{"no answer in time", context.DeadlineExceeded})
	judge(t, GRPC{Addr: netip.MustParseAddrPort("127.0.0.1:9")}, verdict{"connection refused", nil})
}

func TestInvalidGRPC(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:50051")
	for name, p := range map[string]GRPC{
		"no address":             {},
		"a long service":         {Addr: addr, Service: strings.Repeat("x", maxGRPC+1)},
		"a service of bytes":     {Addr: addr, Service: "\xff"},
		"an authority with path": {Addr: addr, Authority: "a/b"},
		"validity without TLS":   {Addr: addr, MinValidity: 1},
	} {
		if err := p.Validate(); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: Validate says %v", name, err)
		}
		if _, err := p.Probe(t.Context()); !errors.Is(err, ErrInconclusive) {
			t.Errorf("%s: Probe says %v", name, err)
		}
	}
}

func FuzzGRPCAnswer(f *testing.F) {
	for _, body := range []string{
		"", "\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x02\x08\x01", "\x00\x00\x00\x00\x02\x08\x02", "\x01\x00\x00\x00\x02\x08\x01",
		"\x00\x00\x00\x00\x09\x12\x03abc\x08\x01\x18\x07", "\x00\x00\x00\x00\x0b\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
		"\x00\x00\x00\x00\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "\x00\x00\x00\x00\x01\x0b",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := grpcServing(body)
		if err == nil && !strings.Contains(string(body), "\x08") && !strings.Contains(string(body), "\x88\x80") {
			t.Error("it serves without a status")
		}
		if len(body) >= 5 && body[0] == 0 && int(body[1])<<24|int(body[2])<<16|int(body[3])<<8|int(body[4]) == len(body)-5 {
			var r pb.HealthCheckResponse
			switch unmarshalled := proto.Unmarshal(body[5:], &r); {
			case unmarshalled == nil && (r.Status == pb.HealthCheckResponse_SERVING) != (err == nil):
				t.Errorf("gRPC's own parser says %v, ours %v", r.Status, err)
			case unmarshalled != nil && err == nil:
				t.Errorf("gRPC's own parser says %v", unmarshalled)
			}
		}
	})
}

// A gRPC service is asked for by its name.
func ExampleGRPC() {
	m, err := New(Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = m.Set("cart1", Check{Prober: GRPC{Addr: netip.MustParseAddrPort("192.168.247.135:50051"), Service: "shop.v1.Cart"}})
	fmt.Println(err)
	// Output: <nil>
}
