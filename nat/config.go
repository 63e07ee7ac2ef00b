package nat

import (
	"log/slog"
	"slices"
	"time"
)

// Backend is what writes the rules into the kernel.
type Backend uint8

const (
	// Auto is the backend that has rules of this name already, else NFTables where
	// the kernel has it, else IPTables.
	Auto Backend = iota
	// NFTables writes one table of its own, over netlink, without a program.
	NFTables
	// IPTables is IPTablesNFT or IPTablesLegacy: the one that the other rules of the
	// network namespace are in, or that of the program iptables where there are none.
	IPTables
	// IPTablesNFT writes chains of its own by iptables-nft-restore.
	IPTablesNFT
	// IPTablesLegacy writes chains of its own by iptables-legacy-restore.
	IPTablesLegacy
)

var backendNames = []string{
	Auto: "auto", NFTables: "nftables", IPTables: "iptables", IPTablesNFT: "iptables-nft", IPTablesLegacy: "iptables-legacy",
}

// String is the backend's name in lower case: "nftables", "iptables-legacy".
func (b Backend) String() string {
	if int(b) < len(backendNames) {
		return backendNames[b]
	}
	return "Backend(unknown)"
}

// MarshalText is String.
func (b Backend) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads what String writes, as for a flag of a program.
func (b *Backend) UnmarshalText(text []byte) error {
	i := slices.Index(backendNames, string(text))
	if i < 0 {
		return &OpError{Op: "parse", Object: string(text), Err: invalid("unknown backend: use auto, nftables, iptables, iptables-nft or iptables-legacy")}
	}
	*b = Backend(i)
	return nil
}

// Config says whose rules a Table has and where. The zero value is the rules of
// "lvskit" in the caller's network namespace, by the backend that fits.
type Config struct {
	// Name tells the rules of one program from those of others: it is the name of the
	// nftables table, and in capitals the beginning of the names of the chains of
	// iptables. At most 16 lower-case letters, digits and "_", a letter
	// first. Empty: "lvskit".
	Name string

	Backend Backend

	// NetNS is the path of the network namespace. Empty: that of the caller of Open.
	NetNS string

	// Logger takes what is worth knowing. Nil discards it.
	Logger *slog.Logger

	// Interval is how often Run looks at the rules where the kernel does not tell
	// of changes (IPTablesLegacy). Zero: 5 s.
	Interval time.Duration

	// OnRepair is called by Run, one call after the other, when others had removed or
	// changed something of ours: with what is added and removed to put it right,
	// which is nothing where the rules were there but not as we write them, and with
	// the error if it could not be, or if only conntrack could not be put
	// right. An error that matches ErrContested says that it was put right and is
	// wrong again soon after. Nil: Run does the same and logs it.
	OnRepair func([]Change, error)
}

// complete has the defaults.
func (c Config) complete() (Config, error) {
	if c.Name == "" {
		c.Name = "lvskit"
	}
	if c.Interval == 0 {
		c.Interval = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.validate()
}

func (c Config) validate() error {
	switch {
	case int(c.Backend) >= len(backendNames):
		return invalidf("unknown backend %d", c.Backend)
	case c.Interval < 0:
		return invalidf("Interval %v: use a positive one, or zero for 5 s", c.Interval)
	case len(c.Name) > maxTableName || c.Name[0] < 'a' || c.Name[0] > 'z':
		return invalidf("Name %q: use at most %d lower-case letters, digits and \"_\", a letter first", c.Name, maxTableName)
	}
	for _, r := range c.Name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return invalidf("Name %q has %q: use lower-case letters, digits and \"_\"", c.Name, r)
		}
	}
	return nil
}

const maxTableName = 16
