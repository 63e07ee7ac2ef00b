package main

import (
	"fmt"
	"strings"
)

// hints are the commands with which a person looks into the cluster that is
// held up. Its networks have no names: they are descriptors of this process.
func (s *scenario) hints() string {
	var b strings.Builder
	say := func(what, host, command string, args ...any) {
		if host != "" {
			command = "nsenter --net=" + s.hosts[host].Path() + " " + command
		}
		fmt.Fprintf(&b, "  %-28s %s\n", what, fmt.Sprintf(command, args...))
	}
	b.WriteString("The cluster stays until Ctrl-C. Meanwhile, from another terminal as root:\n\n")
	say("ask as the client", "client", "curl http://%s/", vip)
	say("a shell on the client", "client", "bash")
	for _, d := range directors {
		say("the table of "+d.name, d.name, "ipvsadm -Ln")
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
