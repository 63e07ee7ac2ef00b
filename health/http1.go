package health

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// exchange1 asks by HTTP/1.1 or 1.0. The body is read from the connection as it is
// read.
func (p HTTP) exchange1(c io.ReadWriter, u URL) (status int, body io.Reader, err error) {
	if _, err := io.WriteString(c, p.request1(u)); err != nil {
		return 0, nil, fmt.Errorf("send: %w", err)
	}
	allowance := &allowance{Reader: c, left: maxHeaders}
	in := bufio.NewReader(allowance)
	request := &http.Request{Method: u.method()}
	for range maxInterim {
		answer, err := http.ReadResponse(in, request)
		switch {
		case err != nil && allowance.err != nil && !errors.Is(allowance.err, io.EOF):
			return 0, nil, allowance.err
		case errors.Is(err, io.ErrUnexpectedEOF):
			return 0, nil, errClosed
		case err != nil:
			return 0, nil, fmt.Errorf("the server does not speak HTTP: %.100s", err)
		case answer.ProtoMajor != 1:
			return 0, nil, fmt.Errorf("the server answers in %.20q", answer.Proto)
		}
		if answer.StatusCode/100 != 1 || answer.StatusCode == http.StatusSwitchingProtocols {
			allowance.unlimited = true
			return answer.StatusCode, answer.Body, nil
		}
	}
	return 0, nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

// request1 is a request as it is sent.
func (p HTTP) request1(u URL) string {
	var b strings.Builder
	version := "HTTP/1.1"
	if p.Version == HTTP10 {
		version = "HTTP/1.0"
	}
	fmt.Fprintf(&b, "%s %s %s\r\nHost: %s\r\n", u.method(), u.path(), version, p.authority(u))
	if len(u.Header.Values("User-Agent")) == 0 {
		b.WriteString("User-Agent: lvskit\r\n")
	}
	for name, values := range u.Header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	if p.Version == HTTP11 {
		b.WriteString("Connection: close\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// errHeaders is what endless headers end with.
var errHeaders = errors.New("the headers have more than 64 KiB")

// allowance reads a bounded part of an answer until it is told that the rest is
// bounded elsewhere, and remembers why it ended.
type allowance struct {
	io.Reader
	left      int
	unlimited bool
	err       error
}

func (a *allowance) Read(b []byte) (int, error) {
	if a.unlimited {
		return a.Reader.Read(b)
	}
	if a.left == 0 {
		a.err = errHeaders
		return 0, a.err
	}
	n, err := a.Reader.Read(b[:min(len(b), a.left)])
	a.left -= n
	a.err = err
	return n, err
}
