package vrrp

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestStatusAsJSON(t *testing.T) {
	s := Status{State: Active, Reason: ReasonTimeout, BinderErr: errors.New("no such device")}
	s.Stats.Dropped[DropChecksum] = 7
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"State":"active"`, `"Reason":"timeout"`, `"BinderErr":"no such device"`, `"Dropped":{"checksum":7}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}
