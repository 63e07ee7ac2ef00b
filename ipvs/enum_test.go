package ipvs

import (
	"encoding"
	"fmt"
	"strings"
	"testing"
)

// word is what every enum of the package is.
type word interface {
	fmt.Stringer
	encoding.TextMarshaler
}

func TestEnumsHaveNames(t *testing.T) {
	for _, test := range []struct {
		value word
		name  string
	}{
		{IPv4, "IPv4"},
		{IPv6, "IPv6"},
		{TCP, "TCP"},
		{UDP, "UDP"},
		{SCTP, "SCTP"},
		{ForwardRoute, "Route"},
		{ForwardMasq, "Masq"},
		{ForwardTunnel, "Tunnel"},
		{ForwardLocal, "Local"},
		{ForwardBypass, "Bypass"},
		{IPIP, "ipip"},
		{GUE, "gue"},
		{GRE, "gre"},
		{AddService, "add service"},
		{UpdateService, "update service"},
		{RemoveService, "remove service"},
		{AddDestination, "add destination"},
		{UpdateDestination, "update destination"},
		{RemoveDestination, "remove destination"},
	} {
		if got := test.value.String(); got != test.name {
			t.Errorf("%T: String is %q, want %q", test.value, got, test.name)
		}
		text, err := test.value.MarshalText()
		if err != nil || string(text) != test.name {
			t.Errorf("%T: MarshalText is %q, %v, want %q", test.value, text, err, test.name)
		}
		for _, spelling := range []string{test.name, strings.ToUpper(test.name), strings.ToLower(test.name)} {
			if got, err := reread(test.value, spelling); err != nil || got != test.value {
				t.Errorf("%T: %q reads as %v, %v", test.value, spelling, got, err)
			}
		}
	}
}

// reread unmarshals text into a value of the same type.
func reread(v word, text string) (word, error) {
	switch v.(type) {
	case Family:
		var x Family
		err := x.UnmarshalText([]byte(text))
		return x, err
	case Protocol:
		var x Protocol
		err := x.UnmarshalText([]byte(text))
		return x, err
	case Forward:
		var x Forward
		err := x.UnmarshalText([]byte(text))
		return x, err
	case TunnelType:
		var x TunnelType
		err := x.UnmarshalText([]byte(text))
		return x, err
	default:
		var x ChangeOp
		err := x.UnmarshalText([]byte(text))
		return x, err
	}
}

func TestEnumsWithoutANameAreNoText(t *testing.T) {
	for _, test := range []struct {
		value word
		name  string
	}{
		{Family(2), "Family(2)"},
		{Protocol(0), "Protocol(0)"},
		{Protocol(1), "Protocol(1)"},
		{Forward(5), "Forward(5)"},
		{TunnelType(200), "TunnelType(200)"},
		{ChangeOp(0), "ChangeOp(0)"},
	} {
		if got := test.value.String(); got != test.name {
			t.Errorf("String is %q, want %q", got, test.name)
		}
		if text, err := test.value.MarshalText(); err == nil {
			t.Errorf("%s marshals as %q", test.name, text)
		}
		for _, text := range []string{test.name, ""} {
			if got, err := reread(test.value, text); err == nil {
				t.Errorf("%q reads as %v", text, got)
			}
		}
	}
}
