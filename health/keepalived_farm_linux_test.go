package health_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lvskit/lvskit/health"
	"github.com/lvskit/lvskit/internal/lab"
	"github.com/lvskit/lvskit/internal/lab/labtest"
)

// parityServices are one service for each of keepalived's own kinds of checks and
// pools. Scripts and files are in dir.
func parityServices(t *testing.T, dir string, ours *lab.Host) []*balanced {
	t.Helper()
	from := health.Source{NetNS: ours.Path()}
	script := filepath.Join(dir, "check")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nread code < \"$1\"\nexit $code\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"/code11": "0\n", "/code12": "0\n", "/weight": "0\n", "/fault": "0\n"} {
		writeText(t, dir+file, text)
	}
	tcp := func(port uint16, weight, n int) (list []checked) {
		for i := range n {
			list = append(list, checked{weight, "TCP_CHECK {\n}", health.TCP{Addr: addrPort(i+11, port), Source: from}})
		}
		return list
	}
	web := func(i, weight int) checked {
		return checked{
			weight, "HTTP_GET {\n url {\n path /page\n digest " + digest() + "\n }\n url {\n path /status\n status_code 200-204 301\n }\n}",
			health.HTTP{Addr: addrPort(i, 80), Source: from, Version: health.HTTP10, URLs: []health.URL{
				{Path: "/page", Digest: digest()},
				{Path: "/status", Status: health.StatusRanges{{200, 204}, {301, 301}}},
			}},
		}
	}
	misc := func(i int) checked {
		code := fmt.Sprintf("%s/code%d", dir, i)
		return checked{
			10, fmt.Sprintf("MISC_CHECK {\n misc_path \"%s %s\"\n misc_timeout 20\n misc_dynamic\n}", script, code),
			health.Script{Path: script, Args: []string{code}, Dynamic: true},
		}
	}
	mail := func(i int) checked {
		return checked{1, "SMTP_CHECK {\n}", health.SMTP{Addr: addrPort(i, 25), Source: from}}
	}
	names := func(i int) checked {
		return checked{1, "DNS_CHECK {\n}", health.DNS{Addr: addrPort(i, 53), Source: from}}
	}
	file := func(name string, weight int, prober health.File) checked {
		prober.Path = dir + "/" + name
		return checked{10, fmt.Sprintf("FILE_CHECK {\n track_file %s\n weight %d\n}", name, weight), prober}
	}
	tracked := fmt.Sprintf("track_file weight {\n file %[1]s/weight\n}\ntrack_file fault {\n file %[1]s/fault\n}\n", dir)
	return []*balanced{
		{name: "pages", port: 80, real: []checked{web(11, 1), web(12, 3)}},
		{
			name: "quorum", port: 81, options: " quorum 3\n hysteresis 1",
			policy: health.Policy{Quorum: 3, Hysteresis: 1, Sorry: true}, real: tcp(81, 1, 5),
		},
		{name: "inhibit", port: 82, policy: health.Policy{Sorry: true, Inhibit: true}, real: tcp(82, 2, 2)},
		{name: "no sorry", port: 83, options: " quorum 2", policy: health.Policy{Quorum: 2}, real: tcp(83, 1, 2)},
		{
			name: "script", port: 84, options: " quorum 12\n hysteresis 2",
			policy: health.Policy{Quorum: 12, Hysteresis: 2, Sorry: true}, real: []checked{misc(11), misc(12)},
		},
		{name: "mail", port: 25, real: []checked{mail(11), mail(12)}},
		{name: "names", port: 53, udp: true, real: []checked{names(11), names(12)}},
		{name: "files", port: 85, before: tracked, real: []checked{
			file("weight", 2, health.File{Test: health.FileNumber, Weight: 2}), file("fault", 0, health.File{Test: health.FileZero}),
		}},
	}
}

// farm is a host with all real servers, each of which can be another way at any
// time.
type farm struct {
	host *lab.Host
	mu   sync.Mutex
	mode map[string]string    // by "11:80"
	open map[string]io.Closer // those that listen
}

func newFarm(t *testing.T, l *lab.Lab, lan *lab.Switch) *farm {
	t.Helper()
	f := &farm{host: labtest.Host(t, l, "farm"), mode: map[string]string{}, open: map[string]io.Closer{}}
	var addrs []string
	for i := range 5 {
		addrs = append(addrs, fmt.Sprintf("10.51.0.%d/24", i+11))
	}
	labtest.Connect(t, f.host, lan, addrs...)
	for port, n := range map[int]int{80: 2, 81: 5, 82: 2, 83: 2, 25: 2, 53: 2} {
		for i := range n {
			f.set(t, fmt.Sprintf("%d:%d", i+11, port), "well")
		}
	}
	return f
}

// set makes a server another way: "dead" has its port closed, all else is up to
// what serves there.
func (f *farm) set(t *testing.T, where, mode string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode[where] = mode
	switch c := f.open[where]; {
	case mode == "dead" && c != nil:
		c.Close()
		delete(f.open, where)
	case mode != "dead" && c == nil:
		f.listen(t, where)
	}
}

func (f *farm) is(where string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mode[where]
}

// listen opens a server by the number of its port.
func (f *farm) listen(t *testing.T, where string) {
	t.Helper()
	_, port, _ := strings.Cut(where, ":")
	if port == "53" {
		c, err := f.host.ListenPacket("udp", "10.51.0."+where)
		if err != nil {
			t.Fatal(err)
		}
		f.open[where] = c
		go f.names(where, c)
		return
	}
	ln, err := f.host.Listen("tcp", "10.51.0."+where)
	if err != nil {
		t.Fatal(err)
	}
	f.open[where] = ln
	if port == "80" {
		go func() { _ = http.Serve(ln, f.pages(where)) }()
		return
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			if port == "25" {
				go f.mail(where, c)
			} else {
				c.Close()
			}
		}
	}()
}

// pages is a web server: /page, which can be wrong, and /status.
func (f *farm) pages(where string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mode := f.is(where)
		switch {
		case r.URL.Path == "/status" && mode == "moved":
			w.WriteHeader(http.StatusMovedPermanently)
		case r.URL.Path == "/status" && mode == "busy":
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/status":
			w.WriteHeader(http.StatusNoContent)
		case mode == "wrong":
			_, _ = io.WriteString(w, "it works?\n")
		default:
			_, _ = io.WriteString(w, page)
		}
	})
}

// mail is a mail server, which can be busy.
func (f *farm) mail(where string, c net.Conn) {
	defer c.Close()
	if f.is(where) == "busy" {
		_, _ = io.WriteString(c, "421 come back later\r\n")
		return
	}
	_, _ = io.WriteString(c, "220 farm\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "QUIT") {
			_, _ = io.WriteString(c, "221 bye\r\n")
			return
		}
		_, _ = io.WriteString(c, "250 farm\r\n")
	}
}

// names is a name server that says NOERROR, or SERVFAIL.
func (f *farm) names(where string, c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 12 {
			continue
		}
		buf[2] |= 0x80 // QR
		buf[3] = 0
		if f.is(where) == "busy" {
			buf[3] = 2
		}
		_, _ = c.WriteTo(buf[:n], from)
	}
}

// turns are what happens to the servers, one after the other, and the tables that
// follow; a service that is not named serves as before. 19 is the sorry server.
var turns = []struct {
	name         string
	events, want map[string]string
}{
	{"all live", nil, map[string]string{
		"pages": "11=1 12=3", "quorum": "11=1 12=1 13=1 14=1 15=1", "inhibit": "11=2 12=2", "no sorry": "11=1 12=1",
		"script": "11=10 12=10", "mail": "11=1 12=1", "names": "11=1 12=1", "files": "11=10 12=10",
	}},
	{
		"the first fail",
		map[string]string{
			"11:80": "wrong", "15:81": "dead", "11:82": "dead", "11:83": "dead", "/code11": "8\n", "11:25": "busy", "11:53": "busy",
			"/weight": "3\n", "/fault": "1\n",
		},
		map[string]string{
			"pages": "12=3", "quorum": "11=1 12=1 13=1 14=1", "inhibit": "11=0 12=2", "no sorry": "12=1",
			"script": "11=6 12=10", "mail": "12=1", "names": "12=1", "files": "11=16",
		},
	},
	{
		"more fail",
		map[string]string{
			"11:80": "busy", "12:80": "dead", "14:81": "dead", "13:81": "dead", "12:82": "dead", "12:83": "dead", "/code11": "1\n",
			"12:25": "dead", "12:53": "dead", "/weight": "-6\n", "/fault": "0\n",
		},
		map[string]string{
			"pages": "", "quorum": "11=1 12=1", "inhibit": "11=0 12=0 19=1", "no sorry": "",
			"script": "12=10", "mail": "", "names": "", "files": "11=0 12=10",
		},
	},
	{
		"some return, others lose their quorum",
		map[string]string{
			"11:80": "moved", "12:81": "dead", "11:82": "well", "11:83": "well", "/code12": "11\n", "11:25": "well", "11:53": "well",
		},
		map[string]string{
			"pages": "11=1", "quorum": "19=1", "inhibit": "11=2 12=0", "no sorry": "11=1",
			"script": "19=1", "mail": "11=1", "names": "11=1",
		},
	},
	{
		"all but a quorum return",
		map[string]string{
			"12:80": "well", "12:81": "well", "13:81": "well", "12:82": "well", "12:83": "well", "/code11": "0\n", "12:25": "well", "12:53": "well",
			"/weight": "0\n",
		},
		map[string]string{
			"pages": "11=1 12=3", "quorum": "19=1", "inhibit": "11=2 12=2", "no sorry": "11=1 12=1",
			"script": "11=10 12=9", "mail": "11=1 12=1", "names": "11=1 12=1", "files": "11=10 12=10",
		},
	},
	{
		"the quorum is back",
		map[string]string{"14:81": "well", "/code12": "0\n"},
		map[string]string{"quorum": "11=1 12=1 13=1 14=1", "script": "11=10 12=10"},
	},
}
