package director

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/lvskit/lvskit/internal/need"
)

// requestTime is the patience of the client: TCP sends again what is lost, and a busy
// machine stands still for seconds.
var requestTime = map[bool]time.Duration{false: 10 * time.Second, true: 20 * time.Second}[need.Emulated()]

// long is a connection of the client that goes on and on.
type long struct {
	t      *testing.T
	from   netip.AddrPort
	server string
	say    func(line string) (string, error)
	close  func() error
}

func (r *rig) dial() (*long, error) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	conn, err := r.client.Dial(ctx, "tcp", r.target)
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(conn)
	l := &long{t: r.T, close: conn.Close, from: netip.MustParseAddrPort(conn.LocalAddr().String())}
	l.say = func(line string) (string, error) {
		if err := conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
			return "", err
		}
		if _, err := fmt.Fprintln(conn, line); err != nil {
			return "", err
		}
		answer, err := lines.ReadString('\n')
		server, text, _ := strings.Cut(strings.TrimSpace(answer), " ")
		if err == nil && text != line {
			err = fmt.Errorf("sent %q, got %q", line, answer)
		}
		return server, err
	}
	if l.server, err = l.say("hello"); err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// connect makes a long connection, to this server if one is given.
func (r *rig) connect(to *server) *long {
	r.Helper()
	for range 200 { // the load takes its turns too
		l, err := r.dial()
		if err != nil {
			r.Fatal(err)
		}
		r.Cleanup(func() { l.close() })
		if to == nil || l.server == to.Name() {
			return l
		}
		l.close()
	}
	r.Fatalf("no connection reached %s", to.Name())
	return nil
}

// lives says that the connection goes on.
func (l *long) lives(when string) {
	l.t.Helper()
	if server, err := l.say(when); err != nil || server != l.server {
		l.t.Errorf("%s the connection to %s answers %q, %v", when, l.server, server, err)
	}
}
