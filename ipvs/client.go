package ipvs

import "log/slog"

// Config is how a Client reaches the kernel. The zero value is the caller's
// network namespace and no log.
type Config struct {
	// NetNS is the path of the network namespace whose table the client works
	// on, such as /run/netns/blue. Empty: that of the thread that calls Open.
	// The client stays with it, whatever becomes of the path.
	NetNS string

	// Logger gets the changes that Apply makes at Debug, and what it does
	// about other programs that change the table meanwhile at Info. Nil
	// discards.
	Logger *slog.Logger
}

var _ Table = (*Client)(nil)
