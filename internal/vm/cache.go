package vm

import (
	"errors"
	"os"
	"path/filepath"
)

// Cache is the folder of what is downloaded and made once, inside the user's
// cache folder. It is made if it is absent.
func Cache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "lvskit-vmtest")
	return dir, os.MkdirAll(dir, 0o755)
}

// writeAtomic writes a file that is seen whole or not at all.
func writeAtomic(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
