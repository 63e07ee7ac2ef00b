//go:build unix

package health

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// absent tells whether an error says that a file is not there.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// fileThere tells whether there is a file.
func fileThere(path string) (bool, error) {
	_, err := os.Stat(path)
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

// readFile reads at most so many bytes of an ordinary file; nil if it is absent. It
// does not wait for the writer of a pipe, nor wake a device.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(info.Mode())
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if text == nil {
		text = []byte{}
	}
	return text, err
}
