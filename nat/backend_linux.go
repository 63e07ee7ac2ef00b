package nat

import (
	"errors"
	"fmt"
	"os"
)

// openBackend finds the backend.
func openBackend(cfg Config) (backend, error) {
	ns, err := openNamespace(cfg.NetNS)
	if err != nil {
		return nil, err
	}
	switch cfg.Backend {
	case Auto, NFTables:
		return &nft{namespace: ns, name: cfg.Name}, nil
	}
	ns.close()
	return nil, fmt.Errorf("%s: %w", cfg.Backend, errors.ErrUnsupported)
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

// path is one that stays while the namespace is open here.
func (ns namespace) path() string { return fmt.Sprintf("/proc/self/fd/%d", ns.file.Fd()) }

func (ns namespace) close() error { return ns.file.Close() }
