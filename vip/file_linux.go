package vip

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/lvskit/lvskit/internal/netns"
)

// notesFile is where the notes of one mark and network namespace are.
type notesFile struct {
	path  string
	dirty bool // the notes differ from it
}

// load reads the notes. What cannot be read as notes is told and then void, so
// that it never keeps an address from being held or released.
func (k *kernel) load(dir string, l *line) error {
	k.file.path = filepath.Join(dir, fmt.Sprintf("vip-%d-%x.json", k.mark, l.id))
	k.notes = notes{Boot: l.boot}
	file, err := os.OpenFile(k.file.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open run file: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxNotes+1))
	if err != nil {
		return fmt.Errorf("read run file: %w", err)
	}
	if k.notes, err = decodeNotes(data, k.notes.Boot); err != nil {
		k.log.Warn("run file ignored: original kernel settings are not known", "file", k.file.path, "err", err)
	}
	return nil
}

// identity tells the namespace of a socket and of the calling thread, and the
// boot.
func identity(socket int) (id uint64, boot string, err error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return 0, "", fmt.Errorf("read boot id: %w", err)
	}
	id, err = namespaceID(socket)
	return id, strings.TrimSpace(string(text)), err
}

// namespaceID tells network namespaces apart: by the cookie, which no other one
// has before the next boot; before 5.14 by the inode, which may be used again.
func namespaceID(socket int) (uint64, error) {
	if cookie, err := unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err == nil {
		return cookie, nil
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return 0, fmt.Errorf("identify the network namespace: %w", err)
	}
	return st.Ino, nil
}

// save writes the notes if they have changed.
func (k *kernel) save() error {
	if !k.file.dirty {
		return nil
	}
	return k.saveNow()
}

// saveNow replaces the file by a whole new one, or removes it if there is
// nothing to note.
func (k *kernel) saveNow() error {
	k.file.dirty = false
	temp := k.file.path + ".new" // one writer: who has the mark
	if k.notes.empty() {
		for _, path := range []string{temp, k.file.path} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove run file: %w", err)
			}
		}
		return nil
	}
	data, err := k.notes.encode()
	if err != nil {
		return err
	}
	dir := filepath.Dir(k.file.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make Config.RunDir: %w", err)
	}
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return fmt.Errorf("write run file, see Config.RunDir: %w", err)
	}
	return os.Rename(temp, k.file.path)
}

// takeMark takes the mark in the network namespace by listening on an abstract
// socket, which the kernel closes whatever happens to the process. Only a
// listener that is known to be root's or our own user's is believed: else
// anybody could keep a director from starting.
func takeMark(cfg Config) (io.Closer, error) {
	name := fmt.Sprintf("@lvskit/vip/%d", cfg.Mark)
	var lock io.Closer
	err := netns.Do(cfg.NetNS, func() error {
		listener, err := net.Listen("unix", name)
		if err == nil {
			lock = listener
			return nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		cred, err := holder(name)
		if err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid()) {
			return fmt.Errorf("%w: process %d has it in this network namespace; give this program another Config.Mark", ErrInUse, cred.Pid)
		}
		cfg.Logger.Warn("another user's program uses the name of our mark: nothing guards it", "mark", cfg.Mark, "socket", name, "err", err)
		lock = io.NopCloser(nil)
		return nil
	})
	return lock, err
}

// holder tells who listens.
func holder(name string) (*unix.Ucred, error) {
	conn, err := net.Dial("unix", name)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return nil, cerr
	}
	return cred, err
}
