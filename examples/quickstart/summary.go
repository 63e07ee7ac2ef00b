package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

var errInterrupted = errors.New("interrupted")

// result is what a run has measured. Times are in milliseconds.
type result struct {
	Dataplane string `json:"dataplane"`        // that forwarded the connections
	Reason    string `json:"dataplane_reason"` // of that choice
	Requests  int    `json:"requests"`         // that the client sent
	Failed    int    `json:"failed"`
	// TakeoverMS is from the death of the director to the first advertisement of the
	// other, BoundMS the most that the protocol allows for it. SilenceMS is from the
	// last advertisement of the dead one, from where the protocol counts.
	TakeoverMS float64 `json:"takeover_ms"`
	BoundMS    float64 `json:"bound_ms"`
	SilenceMS  float64 `json:"silence_ms"`
	// OutageMS is from the death of the director to the first answer to a request
	// that was sent after it.
	OutageMS float64 `json:"outage_ms"`
	// ServerOutMS is from the death of the web server until it is out of the Active
	// director's table, ServerOutBoundMS what the configuration of its check promises.
	ServerOutMS      float64        `json:"server_out_ms"`
	ServerOutBoundMS float64        `json:"server_out_bound_ms"`
	Phases           []phase        `json:"phases"`
	Answers          map[string]int `json:"answers"` // by web server
	Causes           map[string]int `json:"causes"`  // of the failures
	// StalledMS is the longest time for which the client itself stood still: how far
	// this machine can be trusted to measure.
	StalledMS     float64  `json:"stalled_ms"`
	LeftBehind    []string `json:"left_behind"`
	ModulesLoaded []string `json:"modules_loaded"`

	interval time.Duration
	held     bool
}

// sum is the result, but for what is known only when all has been taken away.
func (s *scenario) sum(cfg config) result {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.result
	r.Requests, r.Failed = s.requests, s.failed
	r.BoundMS, r.ServerOutBoundMS = ms(bound(cfg.interval, directors[1].priority)), ms(watching.promise())
	r.Phases, r.Answers, r.Causes = slices.Clone(s.phases), maps.Clone(s.answers), maps.Clone(s.causes)
	r.StalledMS = ms(s.stalled)
	r.interval, r.held = cfg.interval, cfg.hold
	return r
}

// Widths of the summary.
const (
	widthOfLabel = 14
	widthOfWords = 100
)

// busy is from how many milliseconds on a stall is worth a word.
const busy = 100

// words is the result for people, for a terminal of this width (0 is none).
func (r result) words(width int) string {
	if width == 0 || width > widthOfWords {
		width = widthOfWords
	}
	var b strings.Builder
	b.WriteString("\n")
	say := func(label, text string) {
		indent := widthOfLabel
		if strings.HasPrefix(text, "- ") {
			indent += len("- ")
		}
		for i, line := range wrap(text, width-indent) {
			if i > 0 {
				label = strings.Repeat(" ", indent)
			}
			fmt.Fprintf(&b, "%-*s%s\n", widthOfLabel, label, line)
		}
	}
	say("dataplane", fmt.Sprintf("%s: %s.", r.Dataplane, r.Reason))
	if !r.held {
		say("take-over", r.takeOverInWords())
		say("dead server", r.serverInWords())
	}
	say("requests", r.requestsInWords())
	for _, p := range r.Phases {
		if p.Failed > 0 {
			say("", lostInWords(p))
		}
	}
	if r.StalledMS > busy {
		say("", fmt.Sprintf("This machine was busy: the client itself stood still for up to %.0f ms, and what was late may be late for that reason.", r.StalledMS))
	}
	say("left behind", leftInWords(r.LeftBehind, r.Dataplane))
	if len(r.ModulesLoaded) > 0 {
		say("", "The kernel keeps the modules that it has loaded for this: "+strings.Join(r.ModulesLoaded, ", ")+".")
	}
	return b.String()
}

func (r result) takeOverInWords() string {
	verdict := "within"
	if r.TakeoverMS > r.BoundMS {
		verdict = fmt.Sprintf("%.1f ms above", r.TakeoverMS-r.BoundMS)
	}
	return fmt.Sprintf("The other director took over %.0f ms after the death of the Active one: %s the protocol's bound of %.0f ms "+
		"(3 advertisement intervals of %v and a skew of %.0f ms, RFC 9568, section 6.1). It counts from the last advertisement "+
		"of the dead one, which was %.1f ms ago then. The client had an answer again %.0f ms after the death.",
		r.TakeoverMS, verdict, r.BoundMS, r.interval, ms(skew(r.interval, directors[1].priority)), r.SilenceMS, r.OutageMS)
}

func (r result) serverInWords() string {
	verdict := "as its check promises"
	if r.ServerOutMS > r.ServerOutBoundMS {
		verdict = "later than its check promises"
	}
	return fmt.Sprintf("It was out of the pool %.0f ms after its death, %s: at most %.0f ms (a probe each %v, and %d of them that fail after %v each).",
		r.ServerOutMS, verdict, r.ServerOutBoundMS, time.Duration(watching.Interval), watching.Fall, time.Duration(watching.Timeout))
}

func (r result) requestsInWords() string {
	text := fmt.Sprintf("%d sent, %d answered (%s), %d lost", r.Requests, r.Requests-r.Failed, counts(r.Answers), r.Failed)
	if r.Failed > 0 {
		text += " (" + counts(r.Causes) + ")"
	}
	return text + "."
}

func lostInWords(p phase) string {
	why := "this is not expected"
	if p.Why != "" {
		why = p.Why
	}
	return fmt.Sprintf("- %d of %d while %s: %s.", p.Failed, p.Requests, p.Name, why)
}

func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s: %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}
