package health

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// frame is a frame as text, for the tests.
func frame(kind, flags byte, stream uint32, payload string) string {
	return string(appendFrame(nil, kind, flags, stream, []byte(payload)))
}

// fields is a block of headers.
func fields(t testing.TB, pairs ...string) string {
	t.Helper()
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(pairs); i += 2 {
		if err := e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func code(n uint32) string { return string(binary.BigEndian.AppendUint32(nil, n)) }

// answers2 are answers to a request by HTTP/2, and what they mean.
func answers2(t testing.TB) []struct {
	name, answer, want string
} {
	settings := frame(frameSettings, 0, 0, "")
	ok := fields(t, ":status", "200")
	head := settings + frame(frameHeaders, flagEndHeaders, 1, ok)
	end := frame(frameData, flagEndStream, 1, "")
	return []struct{ name, answer, want string }{
		{"an empty body", settings + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, ok), ""},
		{"a body", head + frame(frameData, 0, 1, "he") + frame(frameData, flagEndStream, 1, "llo"), ""},
		{"a padded body", head + frame(frameData, flagPadded|flagEndStream, 1, "\x03hello\x00\x00\x00"), ""},
		{"nothing but padding", head + frame(frameData, flagPadded, 1, "\x03\x00\x00\x00") + end, ""},
		{"padding beyond the frame", head + frame(frameData, flagPadded, 1, "\x09hello"), "bad padding"},
		{"trailers", head + frame(frameData, 0, 1, "x") + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, "sum", "1")), ""},
		{"trailers that do not end it", head + frame(frameData, 0, 1, "x") + frame(frameHeaders, flagEndHeaders, 1, fields(t, "sum", "1")), "trailers before the end"},
		{"a header with priority", settings + frame(frameHeaders, flagEndHeaders|flagEndStream|flagPriority, 1, "\x00\x00\x00\x00\x00"+ok), ""},
		{"a header in pieces", settings + frame(frameHeaders, flagEndStream, 1, ok[:1]) + frame(frameContinuation, flagEndHeaders, 1, ok[1:]), ""},
		{"a header that is not continued", settings + frame(frameHeaders, 0, 1, ok[:1]) + end, "headers are not continued"},
		{"an interim answer", settings + frame(frameHeaders, flagEndHeaders, 1, fields(t, ":status", "103")) + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, ok), ""},
		{"pings, windows, priorities, unknown frames", settings + frame(framePing, 0, 0, "12345678") + frame(frameWindow, 0, 0, code(1)) + frame(framePriority, 0, 1, "\x00\x00\x00\x00\x00") + frame(99, 255, 7, "what") + head[len(settings):] + end, ""},
		{"the server goes away, but not yet", settings + frame(frameGoAway, 0, 0, code(1)+code(0)) + head[len(settings):] + end, ""},
		{"the server goes away", settings + frame(frameGoAway, 0, 0, code(0)+code(11)), "the server goes away: error code 11"},
		{"the stream is reset", settings + frame(frameReset, 0, 1, code(7)), "reset the stream: error code 7"},
		{"another status", settings + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, ":status", "503")), "status 503, want 200-299"},
		{"no status", settings + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, "server", "x")), "without a status"},
		{"a status that is none", settings + frame(frameHeaders, flagEndHeaders|flagEndStream, 1, fields(t, ":status", "20x")), "without a status"},
		{"a body before the header", settings + frame(frameData, 0, 1, "x"), "no header before the body"},
		{"another stream", settings + frame(frameHeaders, flagEndHeaders, 3, ok), "a frame of stream 3"},
		{"a push", settings + frame(framePush, flagEndHeaders, 1, code(2)+ok), "a frame of type 5"},
		{"a header that cannot be decoded", settings + frame(frameHeaders, flagEndHeaders, 1, "\xff\xff\xff\xff\xff"), "the server violates HTTP/2"},
		{"no settings", frame(frameHeaders, flagEndHeaders|flagEndStream, 1, ok), "does not speak HTTP/2"},
		{"HTTP/1.1", "HTTP/1.1 400 Bad Request\r\n\r\n", `does not speak HTTP/2: it sent "HTTP/1.1 "`},
		{"a frame that is too long", head + "\x00\x40\x01\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 20000), "does not speak HTTP/2"},
		{"half an answer", head + frame(frameData, 0, 1, "x"), "the server closed the connection"},
		{"half a frame", head[:len(head)-1], "the server closed the connection"},
		{"nothing", "", "the server closed the connection"},
		{"a header of a large size", settings + frame(frameHeaders, flagEndHeaders, 1, fields(t, ":status", "200", "x", strings.Repeat("~", 14000))) + end, ""},
		{"many small headers", settings + frame(frameHeaders, flagEndHeaders, 1, ok+strings.Repeat("\x88", 2000)), "more than 64 KiB"},
		{"pings without number", settings + strings.Repeat(frame(framePing, 0, 0, "12345678"), 1001), "more than 1000 frames"},
		{"empty frames without number", head + strings.Repeat(frame(frameData, 0, 1, ""), 1001), "more than 1000 frames"},
		{"continuations without number", settings + frame(frameHeaders, 0, 1, ok) + strings.Repeat(frame(frameContinuation, 0, 1, ""), 1001), "more than 64 KiB"},
		{"interim answers without number", settings + strings.Repeat(frame(frameHeaders, flagEndHeaders, 1, fields(t, ":status", "103")), 11), "more than 10 interim answers"},
	}
}

func TestHTTP2OfHostileServers(t *testing.T) {
	for _, tt := range thin(answers2(t)) {
		t.Run(tt.name, func(t *testing.T) {
			p := HTTP{Version: HTTP2, Addr: serve(t, func(c net.Conn) {
				if _, err := io.ReadFull(c, make([]byte, len(preface2))); err != nil {
					return
				}
				_, _ = io.WriteString(c, tt.answer)
				_ = c.(*net.TCPConn).CloseWrite()
				hold(c)
			})}
			judge(t, p, verdict{text: tt.want})
		})
	}
	late := verdict{"no answer in time", context.DeadlineExceeded}
	judge(t, HTTP{Version: HTTP2, Addr: serve(t, hold)}, late)
	judge(t, HTTP{Version: HTTP2, Addr: serve(t, func(c net.Conn) {
		drip(c, frame(frameSettings, 0, 0, "")+strings.Repeat(frame(framePing, 0, 0, "12345678"), 100))
	})}, late)
	judge(t, HTTP{Version: HTTP2, Addr: serve(t, func(c net.Conn) {
		_, _ = io.WriteString(c, answers2(t)[0].answer[:9]+frame(frameHeaders, flagEndHeaders, 1, fields(t, ":status", "200")))
		endless(c, frame(frameData, 0, 1, strings.Repeat("x", 1000)))
	})}, verdict{text: "more than MaxBody"})
}

// script is a connection whose other end has said all that it says.
type script struct{ io.Reader }

func (script) Write(b []byte) (int, error) { return len(b), nil }

func FuzzHTTP2(f *testing.F) {
	for _, tt := range answers2(f) {
		if len(tt.answer) < 1000 { // long ones are slow to vary
			f.Add([]byte(tt.answer))
		}
	}
	p := HTTP{Version: HTTP2}
	f.Fuzz(func(t *testing.T, answer []byte) {
		status, body, err := p.exchange2(script{bytes.NewReader(answer)}, URL{})
		if err != nil {
			return
		}
		if status < 100 || status > 999 {
			t.Errorf("status %d", status)
		}
		n, err := io.Copy(io.Discard, body)
		if n > int64(len(answer)) {
			t.Errorf("%d bytes of body in %d", n, len(answer))
		}
		if s := body.(*stream2); err == nil && !s.ended {
			t.Error("the body has ended, the stream has not")
		}
	})
}

func FuzzHTTP1(f *testing.F) {
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200 OK\n\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", "SSH-2.0-x\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		status, body, err := HTTP{}.exchange1(script{bytes.NewReader(answer)}, URL{})
		if err != nil {
			return
		}
		if status < 0 || status > 999 {
			t.Errorf("status %d", status)
		}
		if n, _ := io.Copy(io.Discard, body); n > int64(len(answer)) {
			t.Errorf("%d bytes of body in %d", n, len(answer))
		}
	})
}
