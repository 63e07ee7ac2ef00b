package nat

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
)

// openMost is how long Open waits for a program.
const openMost = 30 * time.Second

// findOurs is the backends that have rules of ours. The kernel is asked for those of
// nf_tables, and the program for the legacy ones if there are any.
func findOurs(cfg Config, ns namespace) (found []Backend, err error) {
	names := newXTNames(cfg.Name)
	err = withNFTables(ns, func(c *nftables.Conn) error {
		tables, err := c.ListTablesOfFamily(nftables.TableFamilyINet)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == cfg.Name }) {
			found = append(found, NFTables)
		}
		chains, err := c.ListChains()
		if slices.ContainsFunc(chains, func(ch *nftables.Chain) bool {
			return isXTTable(ch.Table) && ch.Table.Name == "nat" && slices.Contains(names[:], ch.Name)
		}) {
			found = append(found, IPTablesNFT)
		}
		return err
	})
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, err
	}
	legacy := newXTables(ns, cfg, IPTablesLegacy)
	if legacy.programs[0].err != nil {
		return found, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), openMost)
	defer cancel()
	s, err := legacy.read(ctx)
	switch {
	case err != nil && !errors.Is(err, fs.ErrPermission):
		return nil, err
	case err == nil && s.there:
		found = append(found, IPTablesLegacy)
	}
	return found, nil
}

// isXTTable tells a table of nf_tables that iptables-nft can have made.
func isXTTable(t *nftables.Table) bool {
	return (t.Family == nftables.TableFamilyIPv4 || t.Family == nftables.TableFamilyIPv6) &&
		slices.Contains([]string{"nat", "filter", "mangle", "raw", "security"}, t.Name)
}

func withNFTables(ns namespace, f func(*nftables.Conn) error) error {
	var c *nftables.Conn
	err := ns.do(func() (err error) {
		c, err = nftables.New(nftables.AsLasting())
		return err
	})
	if err == nil {
		defer c.CloseLasting()
		err = f(c)
	}
	return explainNFTables(err)
}

// explainNFTables tells a kernel without nf_tables from one that does not let us.
func explainNFTables(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask nf_tables: %w: CAP_NET_ADMIN is needed in the network namespace, and CAP_SYS_ADMIN to enter another", err)
	default:
		return fmt.Errorf("the kernel has no NAT by nf_tables (%v): modprobe nft_chain_nat, or use iptables-legacy: %w", err, errors.ErrUnsupported)
	}
}

// iptablesVariant is the variant that others use in this namespace. Where both or none
// are used, it is that of the program iptables.
func iptablesVariant(cfg Config, ns namespace) (Backend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), openMost)
	defer cancel()
	nft, err := nftUsed(ns)
	if err != nil {
		return 0, err
	}
	legacy, err := legacyUsed(ctx, newXTables(ns, cfg, IPTablesLegacy))
	switch {
	case err != nil:
		return 0, err
	case nft && !legacy:
		return IPTablesNFT, nil
	case legacy && !nft:
		return IPTablesLegacy, nil
	}
	path, err := findProgram("iptables")
	if err != nil {
		return 0, err
	}
	version, err := (&xtables{namespace: ns}).run(ctx, path, []string{"-V"}, "")
	variant, _ := parseVersion(version)
	return variant, err
}

// nftUsed tells whether there are rules that iptables-nft may have made.
func nftUsed(ns namespace) (used bool, err error) {
	err = withNFTables(ns, func(c *nftables.Conn) error {
		chains, err := c.ListChains()
		for _, ch := range chains {
			if err == nil && !used && isXTTable(ch.Table) {
				var rules []*nftables.Rule
				rules, err = c.GetRules(ch.Table, ch)
				used = len(rules) > 0
			}
		}
		return err
	})
	if errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return used, err
}

// legacyUsed tells whether there are rules that iptables-legacy has made.
func legacyUsed(ctx context.Context, b *xtables) (used bool, err error) {
	for i := range families {
		tables, err := b.legacyTables(i)
		if err != nil {
			return false, err
		}
		if len(tables) == 0 || b.programs[i].err != nil {
			continue
		}
		text, err := b.run(ctx, b.programs[i].save, nil, "")
		if err != nil {
			return false, err
		}
		used = used || strings.Contains(text, "\n-A ")
	}
	return used, nil
}
