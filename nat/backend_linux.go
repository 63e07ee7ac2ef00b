package nat

import (
	"errors"
	"fmt"
	"os"
	"slices"
)

// openBackend finds the backend. It writes nothing. With mixed, another one has
// rules of ours as well.
func openBackend(cfg Config) (b backend, mixed, err error) {
	ns, err := openNamespace(cfg.NetNS)
	if err != nil {
		return nil, nil, err
	}
	b, mixed, err = chooseBackend(cfg, ns)
	if err != nil {
		return nil, nil, errors.Join(err, ns.close())
	}
	return b, mixed, nil
}

// chooseBackend is the backend that is wanted, unless only another one has rules of
// ours.
func chooseBackend(cfg Config, ns namespace) (b backend, mixed, err error) {
	ours, err := findOurs(cfg, ns)
	if err != nil {
		return nil, nil, err
	}
	kind := cfg.Backend
	for _, have := range ours {
		switch {
		case have == kind:
		case slices.Contains(ours, kind):
			mixed = fmt.Errorf("%w: %s", ErrMixed, have)
		case len(ours) > 1 || kind != Auto && (kind != IPTables || have == NFTables):
			return nil, nil, fmt.Errorf("%w: %s", ErrMixed, have)
		default:
			kind = have
		}
	}
	switch kind {
	case Auto:
		if probeNFTables(ns) == nil {
			kind = NFTables
			break
		}
		fallthrough
	case IPTables:
		if kind, err = iptablesVariant(cfg, ns); err != nil {
			return nil, nil, err
		}
	case NFTables:
		if err := probeNFTables(ns); err != nil {
			return nil, nil, err
		}
	}
	if kind == NFTables {
		return &nft{namespace: ns, name: cfg.Name}, mixed, nil
	}
	x := newXTables(ns, cfg, kind)
	return x, mixed, x.programs[0].err
}

// namespace is the network namespace that a backend works in.
type namespace struct{ file *os.File }

func openNamespace(path string) (namespace, error) {
	if path == "" {
		path = "/proc/thread-self/ns/net"
	}
	f, err := os.Open(path)
	if err != nil {
		return namespace{}, fmt.Errorf("network namespace: %w", err)
	}
	return namespace{f}, nil
}

func (ns namespace) close() error { return ns.file.Close() }
