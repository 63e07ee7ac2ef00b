package sysctl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// proc is /proc/sys as the calling thread sees it.
type proc struct{ root string }

// plan reads what the settings need and plans.
func (p proc) plan(ctx context.Context, want []Setting) ([]Change, error) {
	have, err := p.readAll(ctx, Keys(want))
	if err != nil {
		return nil, err
	}
	for _, s := range want {
		if _, ok := have[s.Key]; !ok && !s.Optional && s.Key.Validate() == nil {
			return nil, p.explain("read", s.Key, fs.ErrNotExist)
		}
	}
	changes, err := makePlan(have, want)
	if err != nil || len(changes) == 0 || rank(changes[0].Key) == 2 {
		return changes, err
	}
	// Only now is it worth knowing what all interfaces have.
	keys := []Key{IPv4Conf("all", "accept_redirects")}
	for _, c := range changes {
		if family, name := resetGroup(c.Key); family != "" {
			group, err := p.interfaceKeys(family, name)
			if err != nil {
				return nil, err
			}
			keys = append(keys, group...)
		}
	}
	others, err := p.readAll(ctx, keys)
	if err != nil {
		return nil, err
	}
	maps.Copy(have, others)
	return makePlan(have, want)
}

// readAll reads those of the keys that exist.
func (p proc) readAll(ctx context.Context, keys []Key) (Values, error) {
	have := make(Values, len(keys))
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v, err := p.read(k)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		have[k] = v
	}
	return have, nil
}

func (p proc) read(k Key) (string, error) {
	if err := k.Validate(); err != nil {
		return "", err
	}
	data, err := os.ReadFile(p.path(k))
	if err != nil {
		return "", p.explain("read", k, err)
	}
	return strings.TrimRight(string(data), "\n"), nil
}

// write sets one value and reads it back.
func (p proc) write(k Key, value string) error {
	if err := k.Validate(); err != nil {
		return err
	}
	err := p.writeFile(k, value)
	if errors.Is(err, syscall.EROFS) {
		if netlink := setByNetlink(k, value); !errors.Is(netlink, errors.ErrUnsupported) {
			err = netlink
		}
	}
	if err != nil {
		return p.explain("write", k, err)
	}
	now, err := p.read(k)
	if err == nil && normal(now) != normal(value) {
		err = &OpError{Op: "write", Object: k.String(), Err: fmt.Errorf("%w: wrote %q, and it is %q", ErrNotKept, value, now)}
	}
	return err
}

func (p proc) writeFile(k Key, value string) error {
	f, err := os.OpenFile(p.path(k), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// interfaceKeys are the keys net/FAMILY/conf/*/NAME, none without the family.
func (p proc) interfaceKeys(family, name string) ([]Key, error) {
	entries, err := os.ReadDir(filepath.Join(p.root, "net", family, "conf"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var keys []Key
	for _, e := range entries {
		if k := NewKey("net", family, "conf", e.Name(), name); k.Validate() == nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

func (p proc) path(k Key) string { return filepath.Join(p.root, filepath.FromSlash(k.path)) }

// explain says in words why a key cannot be read or written, and what to do.
func (p proc) explain(op string, k Key, err error) error {
	var own *OpError
	if errors.As(err, &own) {
		return err
	}
	why := err
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENODEV):
		why = fmt.Errorf("%s: %w", p.missing(k), fs.ErrNotExist)
	case errors.Is(err, syscall.EROFS):
		why = fmt.Errorf("%w; mount /proc/sys read-write in the container (or bind the host's and name it in Config.Root), "+
			"run it privileged or with --sysctl %s=VALUE, or set the value outside", ErrReadOnly, strings.ReplaceAll(k.path, "/", "."))
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Errorf("%s: %w", p.forbidden(k), fs.ErrPermission)
	case errors.Is(err, syscall.EINVAL):
		why = fmt.Errorf("the kernel does not take this value: %w", fs.ErrInvalid)
	}
	return &OpError{Op: op, Object: k.String(), Err: why}
}

// missing says why a key is not there.
func (p proc) missing(k Key) string {
	c := k.Components()
	exists := func(parts ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{p.root}, parts...)...))
		return err == nil
	}
	switch {
	case strings.HasPrefix(k.path, "net/ipv4/vs/") && !exists("net", "ipv4", "vs"):
		return "ip_vs is not loaded (modprobe ip_vs), or the network namespace belongs to a user namespace, which has no net/ipv4/vs"
	case strings.HasPrefix(k.path, "net/netfilter/nf_conntrack") && !exists("net", "netfilter", "nf_conntrack_max"):
		return "connection tracking is not loaded: modprobe nf_conntrack"
	case c[0] == "net" && !exists("net"):
		return "there are no network settings in " + p.root
	case len(c) > 2 && c[0] == "net" && c[1] == "ipv6" && !exists("net", "ipv6"):
		return "the kernel has no IPv6 (ipv6.disable=1?)"
	case k.perInterface() != nil && c[2] == "neigh" && c[3] == "default":
		return "the kernel has it in the machine's first network namespace only: set it there"
	case k.perInterface() != nil && !exists(c[:4]...):
		return "there is no interface " + c[3] + " in this network namespace"
	}
	return "this kernel has no such setting"
}

// forbidden says why a key cannot be opened.
func (p proc) forbidden(k Key) string {
	if info, err := os.Stat(p.path(k)); err == nil && info.Mode().Perm()&0o222 == 0 {
		return "it is read-only in this network namespace: if it can be set at all, then in the machine's first one"
	}
	return "it takes CAP_NET_ADMIN in the user namespace that owns the network namespace, and root outside net/"
}
