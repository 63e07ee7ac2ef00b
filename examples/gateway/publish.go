package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lvskit/lvskit/nat"
)

// parsePublish reads [NAME=]ADDRESS:PORT=SERVER[:PORT][/PROTOCOL].
func parsePublish(s string) (nat.Rule, error) {
	parts := strings.Split(s, "=")
	name := ""
	if len(parts) == 3 {
		name, parts = parts[0], parts[1:]
	}
	if len(parts) != 2 || strings.ContainsAny(s, " \t") {
		return nat.Rule{}, errors.New("write it as 12.0.0.1:3344=192.168.160.100:3344/tcp")
	}
	outside, server := parts[0], parts[1]
	protocol := "tcp"
	if i := strings.LastIndexByte(server, '/'); i >= 0 {
		server, protocol = server[:i], server[i+1:]
	}
	if protocol != "tcp" && protocol != "udp" && protocol != "sctp" {
		return nat.Rule{}, fmt.Errorf("unknown protocol %q: use tcp, udp or sctp", protocol)
	}
	r, err := nat.ParseRule(fmt.Sprintf("dnat %s: %s destination %s to %s", name, protocol, outside, server))
	var reason *nat.OpError
	switch {
	case errors.As(err, &reason):
		return r, reason.Err // the rule's text is not what the person has written
	case err != nil:
		return r, err
	case r.DestinationPort == nat.Ports{}:
		return r, fmt.Errorf("%s has no port: write %s:PORT, or use -rules for all of them", outside, outside)
	case r.Destination.IsValid() && !r.Destination.IsSingleIP():
		return r, fmt.Errorf("%s is a network: publish one address, or use -rules", outside)
	}
	return r, nil
}
