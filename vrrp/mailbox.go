package vrrp

import "sync"

// mailbox has what other goroutines want the loop to do.
type mailbox struct {
	mu      sync.Mutex // guards all below
	letters []func()
	wake    func()
	closed  bool
}

// post hands f to the loop. It is false when the loop has ended; f is not
// called then.
func (b *mailbox) post(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.letters = append(b.letters, f)
	if len(b.letters) == 1 {
		b.wake()
	}
	return true
}

// take moves the letters to into, which is empty.
func (b *mailbox) take(into []func()) []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	into, b.letters = b.letters, into
	return into
}

// close ends the taking of letters and returns those that are left.
func (b *mailbox) close() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.letters
}
