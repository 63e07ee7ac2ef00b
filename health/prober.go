package health

import (
	"context"
	"time"
)

// A Prober probes once: it asks whether a thing is in order. The package has
// probers for the usual protocols; a program may bring its own.
//
// Probe returns nil if the thing is in order, an error that matches
// ErrInconclusive if it could not find out, and another error if it is not in
// order. The end of ctx is the timeout of the whole probe, whatever it
// consists of; a Prober must return soon after ctx ends, or its check hangs (see
// Status.Running). A Monitor ends it later than its Deadline says if the process was
// late meanwhile. It does not retry, and it is not called again before it has
// returned. It may be called by several Checks at once unless they share a Key.
type Prober interface {
	Probe(ctx context.Context) (Report, error)
}

// ProberFunc is a function as a Prober.
type ProberFunc func(ctx context.Context) (Report, error)

// Probe calls f.
func (f ProberFunc) Probe(ctx context.Context) (Report, error) { return f(ctx) }

// validator is a Prober that can be wrong before it is used. Monitor.Set asks it.
type validator interface{ Validate() error }

// Report is what a probe tells besides success and failure. The zero Report tells
// nothing more.
type Report struct {
	// Weight is what the thing itself wants its weight to be: a script's exit
	// code, a number in a file.
	Weight Weight
	// Expires is when the first of the certificates that the server showed ends;
	// zero without TLS.
	Expires time.Time
}

// Weight is a change of a weight. It always applies to the configured weight, never
// to the last result, so that changes do not add up. The zero Weight leaves it as
// it is.
type Weight struct {
	Op WeightOp
	N  int
}

// WeightOp says how a Weight changes the configured weight.
type WeightOp uint8

// The zero WeightOp is KeepWeight.
const (
	KeepWeight  WeightOp = iota
	SetWeight            // N instead
	AddWeight            // the configured weight plus N
	ScaleWeight          // N percent of the configured weight, at least 1 unless N is 0
)
