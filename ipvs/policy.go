package ipvs

// Policy is what Plan and Apply may do beyond the services that are wanted. The
// zero value touches nothing else and sets every weight.
type Policy struct {
	// Owns says which of the services that are not wanted are the caller's:
	// those are removed. All others are foreign and stay untouched. Nil owns
	// none: only the wanted services are touched. OwnAll owns the whole table.
	Owns func(ServiceID) bool

	// KeepWeights lets destinations that exist keep the weight they have, so
	// that one which is being drained or which a health check has set to zero
	// stays so. New destinations get the weight that is wanted.
	KeepWeights bool
}

// OwnAll is a Policy.Owns for the one program that configures IPVS: every
// service that is not wanted is removed.
func OwnAll(ServiceID) bool { return true }
