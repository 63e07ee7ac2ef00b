package vrrp

import (
	"crypto/subtle"
	"time"
)

// Auth is the authentication of advertisements. The zero Auth is none, as RFC
// 9568 has it. All routers of a virtual router must have the same. Printing an
// Auth shows its kind and no secret.
type Auth struct {
	Kind AuthKind
	// Password is of AuthPass (1 to 8 bytes, sent in clear) and AuthAH (1 to 8 bytes,
	// as keepalived cuts it; the key of the digest).
	Password string
	// HMAC is of AuthHMAC.
	HMAC HMAC
}

// String is the kind; a secret is not shown.
func (a Auth) String() string { return a.Kind.String() }

// GoString is the kind too, so that %#v shows no secret either.
func (a Auth) GoString() string { return "vrrp.Auth(" + a.Kind.String() + ")" }

// AuthKind is the kind of authentication.
type AuthKind uint8

// The kinds.
const (
	// AuthNone: none. What protects multicast is the hop limit of 255.
	AuthNone AuthKind = iota
	// AuthPass: a password in clear (RFC 2338, section 5.3.6), VRRPv2 only. It keeps
	// routers with other configurations apart, and stops nobody.
	AuthPass
	// AuthAH: an IP Authentication Header with HMAC-MD5-96 as keepalived sends it
	// (RFC 2338, section 5.3.6, with the sender's address as SPI), VRRPv2 only. The
	// sequence starts with the Unix time, so that it grows over restarts. A router
	// with AuthAH and one without do not hear each other at all.
	AuthAH
	// AuthHMAC: a trailer with HMAC-SHA256-128 and a time stamp
	// (draft-cassen-vrrp-auth-hmac), as keepalived 2.4 sends it; VRRPv3 only here.
	AuthHMAC
)

var authNames = [...]string{"none", "pass", "ah", "hmac"}

// String is none, pass, ah or hmac.
func (k AuthKind) String() string { return name(authNames[:], "authentication", k) }

// MarshalText is String.
func (k AuthKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (k *AuthKind) UnmarshalText(b []byte) error {
	return named(k, authNames[:], "authentication", b)
}

// HMAC configures AuthHMAC. To introduce it without losing an advertisement, go
// through the modes HMACReceive, HMACPermissive and HMACEnforce, each on all
// routers before the next. To change the key, give all routers the new one too,
// then make it the Active one on all, then take the old one away.
type HMAC struct {
	// Keys are the keys whose signatures are accepted, 1 to 255, each with an ID of
	// its own.
	Keys []Key
	// Active is the ID of the key to sign with; zero is that of the first key.
	Active uint8
	// Mode is the stage of the roll-out; zero is HMACEnforce.
	Mode HMACMode
	// Window is how far the clocks (wall clock, UTC) of sender and receiver may be
	// apart, 1 to 300 s in whole seconds; zero is three Intervals, and at least 5 s.
	// It must be zero with NoWindow.
	Window time.Duration
	// NoWindow is for routers without a common clock: nothing but growing time stamps
	// is asked of each sender (keepalived: anti_replay monotonic). After a restart the
	// receiver then takes an old advertisement for a new one until it has heard the
	// sender again.
	NoWindow bool
}

// Key is a key of HMAC. Printing it shows no secret.
type Key struct {
	ID     uint8  // 1 to 255, the same on all routers
	Secret []byte // 32 to 64 random bytes
}

// String is "key 1".
func (k Key) String() string { return name(nil, "key", k.ID) }

// GoString is String, so that %#v shows no secret either.
func (k Key) GoString() string { return "vrrp.Key(" + k.String() + ")" }

// HMACMode is a stage in the roll-out of AuthHMAC.
type HMACMode uint8

// The modes.
const (
	// HMACEnforce signs, and accepts nothing without a right signature.
	HMACEnforce HMACMode = iota
	// HMACPermissive signs, and accepts advertisements without a signature; a wrong
	// one is not accepted.
	HMACPermissive
	// HMACReceive does not sign, and accepts as HMACPermissive does.
	HMACReceive
)

var hmacModeNames = [...]string{"enforce", "permissive", "receive-only"}

// String is keepalived's word: enforce, permissive or receive-only.
func (m HMACMode) String() string { return name(hmacModeNames[:], "mode", m) }

// MarshalText is String.
func (m HMACMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText takes what MarshalText gives.
func (m *HMACMode) UnmarshalText(b []byte) error { return named(m, hmacModeNames[:], "mode", b) }

// The authentication types of a VRRPv2 message (RFC 2338, section 5.3.6).
const (
	wireNone = 0
	wirePass = 1
	wireAH   = 2
)

// authentic checks the authentication of a well-formed message. outer is the
// message with the AH header before it, if there is one.
func (w *wire) authentic(h header, outer []byte, m *message, now time.Time) Drop {
	kind, want := w.cfg.Auth.Kind, uint8(wireNone)
	switch kind {
	case AuthPass:
		want = wirePass
	case AuthAH:
		want = wireAH
	}
	switch {
	case m.authType != want,
		(h.protocol == protocolAH) != (kind == AuthAH),
		len(m.trailer) > 0 && kind != AuthHMAC:
		return DropAuthType
	case kind == AuthPass:
		var password [passwordLen]byte
		copy(password[:], w.cfg.Auth.Password)
		if subtle.ConstantTimeCompare(password[:], m.password) != 1 {
			return DropAuthData
		}
	case kind == AuthAH:
		return w.ah.check(h, outer)
	case kind == AuthHMAC:
		return w.hmac.check(h, m, now)
	}
	return DropNone
}
