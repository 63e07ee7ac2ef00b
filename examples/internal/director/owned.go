package director

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/lvskit/lvskit/ipvs"
)

// ownedServices is a file with the services that are this program's own, in
// the form of ipvsadm -S. The kernel has no mark for them, and a run that was
// killed could not take its services away.
type ownedServices struct{ path string }

// policy lets Apply remove the services of the file, and no others. A file
// that cannot be read owns nothing.
func (o *ownedServices) policy() ipvs.Policy {
	mine := o.read()
	return ipvs.Policy{Owns: func(id ipvs.ServiceID) bool { return contains(mine, id) }}
}

func (o *ownedServices) read() []ipvs.Service {
	text, err := os.ReadFile(o.path)
	if err != nil {
		return nil
	}
	services, _ := ipvs.Parse(bytes.NewReader(text))
	return services
}

// own notes services before they are made.
func (o *ownedServices) own(services []ipvs.Service) error {
	all := slices.Clone(services)
	for _, old := range o.read() {
		if !contains(services, old.ID) {
			all = append(all, old)
		}
	}
	return o.ownOnly(all)
}

// ownOnly makes the file hold these services; none removes it. The file is whole
// at any moment: it is replaced, not rewritten.
func (o *ownedServices) ownOnly(services []ipvs.Service) error {
	temp := o.path + ".new"
	if len(services) == 0 {
		for _, path := range []string{temp, o.path} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	services = slices.Clone(services)
	for i := range services {
		services[i].Destinations = nil // come and go with each check, and are found in the table
	}
	var text bytes.Buffer
	if err := ipvs.Format(&text, services); err != nil {
		return err
	}
	if there, err := os.ReadFile(o.path); err == nil && bytes.Equal(there, text.Bytes()) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(o.path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(temp, text.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(temp, o.path)
}

func contains(services []ipvs.Service, id ipvs.ServiceID) bool {
	return slices.ContainsFunc(services, func(s ipvs.Service) bool { return s.ID == id })
}
