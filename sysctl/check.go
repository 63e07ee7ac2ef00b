package sysctl

import "fmt"

// Finding is a setting that is not as it should be.
type Finding struct {
	Setting Setting // what is wanted, and why

	// Value is what the kernel acts upon, "all" and interface taken together.
	Value string

	// Fault is the key to change: the setting's own, or the one of "all" that
	// stands against it whatever the interface has.
	Fault Key

	// Missing: the kernel does not have the key, and the setting is not
	// Optional. Value is "".
	Missing bool
}

// String is one line for people.
func (f Finding) String() string {
	s := fmt.Sprintf("%s is %s, wanted %s", f.Setting.Key, f.Value, f.Setting.Want)
	switch {
	case f.Missing:
		s = fmt.Sprintf("%s is missing, wanted %s", f.Setting.Key, f.Setting.Want)
	case f.Fault != f.Setting.Key:
		s += fmt.Sprintf(" (because of %s: %s)", f.Fault, RuleOf(f.Setting.Key))
	}
	if f.Setting.Reason != "" {
		s += ": " + f.Setting.Reason
	}
	return s
}

// Check compares what a kernel with the values in have does with what is
// wanted. It takes the same have as [Plan], changes nothing, and goes on after
// a finding. Its errors are those of [Merge].
func Check(have Values, want []Setting) ([]Finding, error) {
	findings, err := check(have, want)
	return findings, opError("check", err)
}

func check(have Values, want []Setting) ([]Finding, error) {
	want, err := merge(want)
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, s := range want {
		now, ok := Effective(have, s.Key)
		switch {
		case !ok && !s.Optional:
			findings = append(findings, Finding{Setting: s, Fault: s.Key, Missing: true})
		case ok && !s.Want.Allows(now):
			f := Finding{Setting: s, Value: now, Fault: s.Key}
			if _, ok := choose(have, s); !ok {
				f.Fault = companions(s.Key)[0]
			}
			findings = append(findings, f)
		}
	}
	return findings, nil
}
