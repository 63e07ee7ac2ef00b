package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/lvskit/lvskit/examples/internal/director"
)

// hints are the commands with which a person looks into the cluster that is
// held up. Its networks have no names: they are descriptors of this process.
func (s *scenario) hints() string {
	var b strings.Builder
	into, as := "nsenter", " as root"
	if inner() { // the rights there are those of whoever made it
		into, as = fmt.Sprintf("nsenter --user=/proc/%d/ns/user --preserve-credentials", os.Getpid()), ""
	}
	say := func(what, host, command string, args ...any) {
		if host != "" {
			command = into + " --net=" + s.hosts[host].Path() + " " + command
		}
		fmt.Fprintf(&b, "  %-28s %s\n", what, fmt.Sprintf(command, args...))
	}
	fmt.Fprintf(&b, "The cluster stays until Ctrl-C. Meanwhile, from another terminal%s:\n\n", as)
	say("ask as the client", "client", "curl http://%s/", virtual)
	say("a shell on the client", "client", "bash")
	for _, d := range directors {
		if s.plane.name == director.Kernel {
			say("the table of "+d.name, d.name, "ipvsadm -Ln")
		} else {
			say("the table of "+d.name, d.name, "curl -s http://%s/metrics | grep ipvs_destination", metricsAddress)
		}
		say("the addresses of "+d.name, d.name, "ip address show eth0")
	}
	say("pull the cable of web2", "web2", "ip link set eth0 down")
	say("and put it back", "web2", "ip link set eth0 up")
	say("cut off director1", "director1", "ip link set eth0 down")
	say("and connect it again", "director1", "ip link set eth0 up")
	for _, d := range directors {
		say("kill "+d.name, "", "kill -9 %d", s.running[d.name].Pid())
		say("and start it again", d.name, "%s", s.running[d.name])
	}
	b.WriteString("\n")
	return b.String()
}

// inner tells whether this is a user namespace, such as an ordinary user's run
// makes for itself: the first one maps all users to themselves.
func inner() bool {
	m, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(m)), " ") != "0 0 4294967295"
}
