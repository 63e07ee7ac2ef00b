//go:build !unix

package health

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

func absent(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func fileThere(path string) (bool, error) {
	_, err := os.Stat(path)
	if absent(err) {
		return false, nil
	}
	return err == nil, err
}

func readFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, notRegular(info.Mode())
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most))
	if text == nil {
		text = []byte{}
	}
	return text, err
}
