package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"
	"time"

	"github.com/lvskit/lvskit/health"
)

// nginx is a proxy beside this program: a daemon, which goes on when this program
// is killed, and is found again by its PID file.
type nginx struct {
	service
	again   time.Duration // from its end to its start
	conf    string
	process *health.Process
	gone    time.Time // when it was found to have ended, or was started in vain; zero while it runs
}

func newNginx(s service, again time.Duration) *nginx {
	return &nginx{
		service: s, again: again, conf: filepath.Join(s.run, "nginx.conf"),
		process: &health.Process{PIDFile: filepath.Join(s.run, "nginx.pid"), Name: "nginx"},
	}
}

// conf is its configuration. It listens on all addresses, so that it can
// start where the virtual address is not. A node that does not answer in a second is
// left alone until again has passed, and the client gets the next one. On the loopback
// address nginx answers by itself, at the same port.
var conf = template.Must(template.New("").Parse(`# written by nodeport
{{if .Module}}load_module {{.Module}};
{{end}}{{if .Root}}user root;
{{end}}worker_processes auto;
pid {{.Run}}/nginx.pid;
error_log {{.Run}}/nginx.log;
events {
    worker_connections 1024;
}
stream {
    upstream nodes {
{{range .Nodes}}        server {{.}} max_fails=1 fail_timeout={{$.Again}}s;
{{end}}    }
    server {
        listen {{.Listen}};
        proxy_pass nodes;
        proxy_connect_timeout 1s;
    }
    server {
        listen {{.Alive}};
        return "{{.Answer}}";
    }
}
`))

// modules are where distributions have what nginx needs for streams, where it is
// not built in.
var modules = []string{"/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"}

// open starts nginx. One that runs already, since our predecessor was killed,
// takes the new configuration instead.
func (n *nginx) open(ctx context.Context) error {
	if err := n.configure(); err != nil {
		return err
	}
	return n.start(ctx)
}

// configure writes the configuration.
func (n *nginx) configure() error {
	if err := os.MkdirAll(n.run, 0o755); err != nil {
		return err
	}
	values := struct {
		Module, Run, Listen, Answer string
		Alive                       netip.AddrPort
		Root                        bool
		Nodes                       []netip.AddrPort
		Again                       int
	}{
		Run: n.run, Alive: n.alive(), Answer: answer, Root: os.Geteuid() == 0, Nodes: n.nodes, Listen: fmt.Sprint(n.vip.Port()),
		Again: int(max(n.again, time.Second).Seconds()),
	}
	if n.vip.Addr().Is6() {
		values.Listen = "[::]:" + values.Listen
	}
	for _, m := range modules {
		if _, err := os.Stat(m); err == nil {
			values.Module = m
			break
		}
	}
	var text bytes.Buffer
	if err := conf.Execute(&text, values); err != nil {
		return err
	}
	return os.WriteFile(n.conf, text.Bytes(), 0o644)
}

func (n *nginx) start(ctx context.Context) error {
	if n.running(ctx) {
		return n.command(ctx, "-s", "reload")
	}
	return n.command(ctx)
}

func (n *nginx) running(ctx context.Context) bool {
	_, err := n.process.Probe(ctx)
	return err == nil
}

func (n *nginx) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "nginx", append([]string{"-e", filepath.Join(n.run, "nginx.log"), "-c", n.conf}, args...)...)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// answer is what nginx answers at the address alive.
const answer = "nginx lives"

func (n *nginx) alive() netip.AddrPort {
	loopback := netip.IPv6Loopback()
	if n.vip.Addr().Is4() {
		loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(loopback, n.vip.Port())
}

// checks are one: whether the process is there, takes connections, and does not
// hang. Whether the nodes live is no matter: another nginx would reach them no better.
func (n *nginx) checks() map[string]health.Check {
	process := &health.Process{PIDFile: n.process.PIDFile, Name: n.process.Name}
	port := health.TCP{Addr: n.alive(), Expect: regexp.MustCompile(answer), Reset: true}
	return map[string]health.Check{"nginx": {
		Prober: health.All(process, port), Interval: n.interval, Timeout: time.Second, Fall: 1,
	}}
}

// balance starts an nginx that has ended, after a while. One that only hangs is
// left for a person to look at.
func (n *nginx) balance(ctx context.Context, checks map[string]health.Status) (serves bool, err error) {
	switch now := time.Now(); {
	case n.running(ctx):
		n.gone = time.Time{}
	case n.gone.IsZero():
		n.gone = now
	case now.Sub(n.gone) >= n.again:
		n.gone = now
		err = n.start(ctx)
	}
	return checks["nginx"].State == health.Up, err
}

// close ends nginx.
func (n *nginx) close(ctx context.Context) error {
	var err error
	if n.running(ctx) {
		err = n.command(ctx, "-s", "stop")
	}
	for begun := time.Now(); n.running(ctx) && err == nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			err = errors.New("nginx was told to stop, and still runs")
		}
	}
	return err
}
