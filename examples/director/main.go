// Command director is the director of an LVS cluster: it sets the kernel's
// settings for its role, the virtual services with those of their real servers
// that live, and the virtual addresses, keeps them until SIGTERM or SIGINT, and
// takes all of it back. Two of them on two machines are a pair: one holds the
// addresses, and the other takes over with the connections there are.
//
// SIGHUP reads the configuration again and changes only the difference. Run
// again after SIGKILL, it repairs what is not as wanted.
//
// It needs CAP_NET_ADMIN, for VRRP CAP_NET_RAW too. Where the kernel has ip_vs and
// these are of the initial user namespace, the kernel forwards; elsewhere the
// program does so itself. See README.md for the configuration and a topology.
//
// How it flows: all of it is in examples/internal/director, which
// examples/quickstart has in its own binary, too.
package main

import (
	"os"

	"github.com/lvskit/lvskit/examples/internal/director"
)

func main() { os.Exit(director.Main(os.Args[1:])) }
