package nat

import (
	"errors"
	"fmt"
	"os"
)

// openBackend finds the backend. It writes nothing.
func openBackend(cfg Config) (backend, error) {
	ns, err := openNamespace(cfg.NetNS)
	if err != nil {
		return nil, err
	}
	b, err := chooseBackend(cfg, ns)
	if err != nil {
		return nil, errors.Join(err, ns.close())
	}
	return b, nil
}

// chooseBackend is the backend that is wanted, unless another one has rules of ours.
func chooseBackend(cfg Config, ns namespace) (backend, error) {
	ours, err := findOurs(cfg, ns)
	if err != nil {
		return nil, err
	}
	kind := cfg.Backend
	for _, have := range ours {
		if len(ours) > 1 || kind != have && kind != Auto && (kind != IPTables || have == NFTables) {
			return nil, fmt.Errorf("%w: %s", ErrMixed, have)
		}
		kind = have
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
			return nil, err
		}
	case NFTables:
		if err := probeNFTables(ns); err != nil {
			return nil, err
		}
	}
	if kind == NFTables {
		return &nft{namespace: ns, name: cfg.Name}, nil
	}
	b := newXTables(ns, cfg, kind)
	return b, b.programs[0].err
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
