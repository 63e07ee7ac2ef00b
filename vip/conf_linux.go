package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// parseConf reads the kernel's array of an interface's IPv4 settings.
func parseConf(v []byte) Conf {
	conf := Conf{}
	for key, id := range keys {
		if len(v) >= 4*id {
			conf[key] = int(int32(binary.NativeEndian.Uint32(v[4*(id-1):])))
		}
	}
	return conf
}

// confPath is below the network namespace of the calling thread.
func confPath(iface string, key Key) string {
	return filepath.Join("/proc/sys/net/ipv4/conf", iface, string(key))
}

// readConf reads the settings of "all" or "default", which netlink does not have.
func readConf(iface string) (Conf, error) {
	conf := Conf{}
	for key := range keys {
		text, err := os.ReadFile(confPath(iface, key))
		if err != nil {
			return nil, fmt.Errorf("read kernel setting: %w", err)
		}
		if conf[key], err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return nil, fmt.Errorf("read kernel setting %s: %w", confPath(iface, key), err)
		}
	}
	return conf, nil
}

// setting reads one setting now.
func (k *kernel) setting(index int, key Key) (int, error) {
	if index != 0 {
		link, err := k.oneLink(index, "")
		return link.Conf[key], err
	}
	conf, err := readConf(allInterfaces)
	return conf[key], err
}

// write writes a setting: of an interface by netlink, of "all" by /proc/sys.
func (k *kernel) write(index int, key Key, value int) error {
	if index == 0 {
		err := os.WriteFile(confPath(allInterfaces, key), []byte(strconv.Itoa(value)), 0)
		if errors.Is(err, unix.EROFS) {
			return fmt.Errorf("/proc/sys is read-only here: name the interfaces instead of all (%w)", fs.ErrPermission)
		}
		return err
	}
	head := nl.NewIfInfomsg(unix.AF_UNSPEC)
	head.Index = int32(index)
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	inet := spec.AddRtAttr(unix.AF_INET, nil)
	inet.AddRtAttr(unix.IFLA_INET_CONF, nil).AddRtAttr(keys[key], nl.Uint32Attr(uint32(value)))
	_, err := k.request(unix.RTM_SETLINK, unix.NLM_F_ACK, head, spec).Execute(unix.NETLINK_ROUTE, 0)
	return words(err)
}

func (k *kernel) settingIndex(s Setting) (int, error) {
	if s.Interface == allInterfaces {
		return 0, nil
	}
	return k.indexOf(s.Interface)
}

// changeSetting notes the original, and then writes.
func (k *kernel) changeSetting(s Setting) error {
	index, err := k.settingIndex(s)
	if err != nil {
		return err
	}
	k.notes.noteSetting(notedSetting{Index: index, Key: s.Key, Was: s.Was, Set: s.Value})
	if err := k.saveNow(); err != nil {
		return err
	}
	if err := k.write(index, s.Key, s.Value); err != nil {
		k.notes.dropSetting(index, s.Key)
		k.file.dirty = true
		return err
	}
	return nil
}

// restoreSetting writes the original, if the setting is still as we set it.
func (k *kernel) restoreSetting(s Setting) error {
	index, err := k.settingIndex(s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // with the interface went its settings
	}
	if err != nil {
		return err
	}
	value, err := k.setting(index, s.Key)
	if err == nil && value == s.Was {
		err = k.write(index, s.Key, s.Value)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	k.notes.dropSetting(index, s.Key)
	k.file.dirty = true
	return nil
}
