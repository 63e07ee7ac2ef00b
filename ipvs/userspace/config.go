package userspace

import (
	"log/slog"
	"time"

	"github.com/lvskit/lvskit/ipvs"
)

// Config says how an Engine forwards. The zero value forwards, in the network
// namespace of the caller, and real servers see an address of this machine.
type Config struct {
	// TableOnly makes an Engine that forwards nothing and opens no socket: the
	// double of the kernel's table for unit tests. It takes every service that
	// the kernel takes, and works on every system.
	TableOnly bool

	// NetNS is the path of the network namespace in which the Engine listens
	// and from which it reaches the real servers. Empty: that of the caller.
	NetNS string

	// Logger takes what is worth knowing. Nil discards it.
	Logger *slog.Logger

	// Source says what the real servers of a service learn about the client.
	// Nil: SourceLocal for every service. It is called when a service is added.
	Source func(ipvs.ServiceID) Source

	// ConnectTimeout bounds the time until a real server takes a TCP
	// connection. Zero: 5 s.
	ConnectTimeout time.Duration

	// MaxConnections bounds how many connections there are at a time, TCP and
	// UDP together. At the bound new TCP connections wait in the backlog and
	// new UDP clients are dropped. Zero: as many as the limit of descriptors
	// (RLIMIT_NOFILE) leaves room for.
	MaxConnections int

	// Backlog is how many TCP connections of a service may wait to be taken.
	// Zero: as many as the kernel allows (net.core.somaxconn).
	Backlog int

	// Workers is the number of threads that forward. Zero: GOMAXPROCS.
	Workers int

	// DrainTimeout is how long connections may go on when Run is to end and
	// nothing new is taken any more. Zero: they are cut at once.
	DrainTimeout time.Duration

	// Handover is the path of a unix socket by which an Engine gives its table
	// and its listening sockets to a successor with the same path, so that a
	// restart refuses no connection: at most 103 bytes, in a directory that both
	// processes may write. Empty: none.
	//
	// While Run runs the Engine listens there, for processes of the same user and
	// of root. Open of the successor takes the table, and its Run takes over; then
	// Run of this one drains and ends with ErrSucceeded. So start the new program
	// before ending the old one.
	Handover string
}

// Source is what a real server learns about the client of a connection.
type Source uint8

const (
	// SourceLocal is an address of this machine, with any free port: the real
	// server does not learn who the client is.
	SourceLocal Source = iota
	// SourceProxy is SourceLocal with a PROXY protocol v2 header in front of a
	// TCP connection's data and of the first packet of each UDP session. The
	// real server has to expect it.
	SourceProxy
	// SourceTransparent is the client's own address and port (IP_TRANSPARENT). It
	// takes CAP_NET_ADMIN or CAP_NET_RAW; without, AddService answers
	// fs.ErrPermission. Client and real server must be of one family. The real
	// server's route to its clients must lead through this machine, which has to
	// keep the answers instead of passing them on:
	//
	//	nft add rule inet T prerouting meta l4proto { tcp, udp } socket transparent 1 meta mark set 1 accept
	//	ip rule add fwmark 1 lookup 100
	//	ip route add local default dev lo table 100
	//
	// in a chain of hook prerouting and priority mangle, and likewise by ip -6.
	SourceTransparent
)
