package ipvs

// Plan is the smallest change that makes have into want.
func Plan(have, want []Service, policy Policy) ([]Change, error) {
	return nil, nil
}
