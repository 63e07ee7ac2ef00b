package vrrp

// Auth is the authentication of advertisements. The zero Auth is none, as RFC
// 9568 has it.
type Auth struct {
	Kind AuthKind
	// Password is of AuthPass (1 to 8 bytes, sent in clear) and AuthAH (1 to 16 bytes).
	Password string
	// HMAC is of AuthHMAC.
	HMAC HMAC
}

// AuthKind is the kind of authentication.
type AuthKind uint8

// HMAC configures AuthHMAC.
type HMAC struct{}
