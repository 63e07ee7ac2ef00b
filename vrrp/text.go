package vrrp

import "strings"

// named sets v to the number of the word in text.
func named[T ~uint8](v *T, words []string, kind string, text []byte) error {
	for i, w := range words {
		if w == string(text) {
			*v = T(i)
			return nil
		}
	}
	return invalid("%s %q: want one of %s", kind, text, strings.Join(words, ", "))
}
