package nat

import (
	"slices"
	"strconv"
	"strings"
)

// Our chains, in the table nat of each family. All but the first have one jump to each,
// from the chain that the kernel calls, before the rules of others there: the
// first rewriting is the one that counts.
const (
	xtPub  = iota // exact rules
	xtPre         // goes to xtPub, then has those that change the destination, in order
	xtOut         // the same for the gateway's own connections, see Rule.local
	xtPost        // hairpins, then the rules that change the source, in order
	xtChains
)

var (
	xtHooks    = [xtChains]string{xtPre: "PREROUTING", xtOut: "OUTPUT", xtPost: "POSTROUTING"}
	xtSuffixes = [xtChains]string{"-PUB", "-PRE", "-OUT", "-POST"}
)

// xtMark is the comment of the jumps, of every Name. Those of other Names may stand
// before ours.
const xtMark = "kept by lvskit"

// iptState is what iptables has of ours, IPv4 and IPv6.
type iptState [2]xtFamily

// xtFamily is our chains in one family.
type xtFamily struct {
	there, sound bool
	stale        bool  // its counters are
	err          error // why it cannot be read, though the other one can
	exists       [xtChains]bool
	lines        [xtChains][]xtLine
	jumped       [xtChains]bool // by the one right jump
	jumps        []string       // what else is ours: "PREROUTING -m comment ..."
	held         string         // a rule of others that leads to our chains
	rules        []RuleStatus
	next         *[xtChains][]xtLine // what is to be written
}

// xtNames are the names of our chains.
type xtNames [xtChains]string

func newXTNames(name string) (n xtNames) {
	for i, suffix := range xtSuffixes {
		n[i] = strings.ToUpper(name) + suffix
	}
	return n
}

// jump is the right jump to a chain.
func (n *xtNames) jump(chain int) string {
	return `-m comment --comment "` + xtMark + `" -j ` + n[chain]
}

// publish is the line that leads to the exact rules.
func (n *xtNames) publish() xtLine { return xtLine{text: "-j " + n[xtPub]} }

// readSave reads what iptables-save wrote of the table nat.
func (n *xtNames) readSave(text string, p *xtParser) (f xtFamily) {
	f.sound = true
	for chain, name := range n {
		f.lines[chain] = make([]xtLine, 0, strings.Count(text, "] -A "+name+" "))
	}
	var first [xtChains]bool // a rule of others came first
	for line := range strings.Lines(text) {
		if chain, ok := strings.CutPrefix(line, ":"); ok {
			chain, _, _ = strings.Cut(chain, " ")
			if i := slices.Index(n[:], chain); i >= 0 {
				f.there, f.exists[i] = true, true
			}
			continue
		}
		packets, bytes, rule, ok := cutCounters(line)
		if !ok {
			continue
		}
		chain, rule, _ := strings.Cut(rule, " ")
		if i := slices.Index(n[:], chain); i >= 0 {
			f.addLine(i, n.line(packets, bytes, rule, p))
			continue
		}
		hook := slices.Index(xtHooks[:], chain)
		words := xtWords(rule)
		switch marked, to := n.target(words); {
		case to >= 0: // our jump
			f.there = true
			right := len(words) == 6 && hook == to
			if right && !f.jumped[to] && !first[to] {
				f.jumped[to] = true
				break
			}
			f.sound, f.jumps = false, append(f.jumps, chain+" "+rule)
			if right && f.jumped[to] { // to delete one of two is to delete the first
				f.jumped[to], first[to], f.jumps = false, true, append(f.jumps, chain+" "+rule)
			}
		case marked:
		default:
			if hook >= 0 {
				first[hook] = true
			}
			if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(n[:], w) }) {
				f.held = "-A " + chain + " " + rule
			}
		}
	}
	n.finish(&f)
	return f
}

// target tells whether a rule is marked as a jump of ours, of any Name, and the chain of
// this Name that it leads to, or -1.
func (n *xtNames) target(words []string) (marked bool, to int) {
	comment, target := "", ""
	for i, w := range words[:max(0, len(words)-1)] {
		switch w {
		case "--comment":
			comment = words[i+1]
		case "-j", "-g":
			target = words[i+1]
		}
	}
	if comment != xtMark {
		return false, -1
	}
	return true, slices.Index(n[:], target)
}

// cutCounters takes a line "[packets:bytes] -A ..." apart.
func cutCounters(line string) (packets, bytes uint64, rule string, ok bool) {
	counters, rule, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "] -A ")
	if !ok || !strings.HasPrefix(counters, "[") {
		return 0, 0, "", false
	}
	p, b, _ := strings.Cut(counters[1:], ":")
	packets, err := strconv.ParseUint(p, 10, 64)
	if err == nil {
		bytes, err = strconv.ParseUint(b, 10, 64)
	}
	return packets, bytes, rule, err == nil
}

// line reads a line of one of our chains, without a text if it is not ours.
func (n *xtNames) line(packets, bytes uint64, rule string, p *xtParser) (l xtLine) {
	if l = n.publish(); rule != l.text {
		var err error
		if l, err = p.parse(xtWords(rule)); err != nil {
			return xtLine{}
		}
	}
	l.packets, l.bytes = packets, bytes
	return l
}

func (f *xtFamily) addLine(chain int, l xtLine) {
	if l.text == "" {
		f.sound = false
		return
	}
	f.lines[chain] = append(f.lines[chain], l)
}

// finish makes the rules of the lines, and compares the lines with those that the rules
// have.
func (n *xtNames) finish(f *xtFamily) {
	if !f.there {
		return
	}
	f.sound = f.sound && n.collect(f)
	var rest []Rule // those whose places or hairpins are to be compared
	for i := range f.rules {
		if r := &f.rules[i].Rule; !r.Exact() || r.Hairpin.IsValid() {
			rest = append(rest, *r)
		}
	}
	for chain, want := range n.layout(rest, f) {
		f.sound = f.sound && f.exists[chain] && (f.jumped[chain] || xtHooks[chain] == "") &&
			(chain == xtPub || slices.EqualFunc(want, f.lines[chain], func(a, b xtLine) bool { return a.text == b.text }))
	}
}

// collect makes the rules of the lines, and tells whether xtPub has exact rules, each
// once.
func (n *xtNames) collect(f *xtFamily) (sound bool) {
	sound = true
	most := len(f.lines[xtPub]) + len(f.lines[xtPre]) + len(f.lines[xtPost])
	at, list := newIndex(most), make([]Rule, 0, most)
	f.rules = make([]RuleStatus, 0, most)
	for chain, lines := range f.lines {
		for i := range lines {
			l := &lines[i]
			place := at.find(list, &l.rule)
			sound = sound && (chain != xtPub || place < 0 && l.rule.Exact())
			switch {
			case l.rule.Action == 0:
				continue
			case place < 0 && chain == xtOut: // it is not in xtPre
				continue
			case place < 0:
				place = len(list)
				list = append(list, l.rule)
				at.add(list, place)
				f.rules = append(f.rules, RuleStatus{Rule: l.rule})
			}
			f.rules[place].Packets += l.packets
			f.rules[place].Bytes += l.bytes
		}
	}
	return sound
}

// same tells whether the same lines are ours in both, whatever they have counted.
func (f *xtFamily) same(g *xtFamily) bool {
	for chain := range f.lines {
		if !slices.EqualFunc(f.lines[chain], g.lines[chain], func(a, b xtLine) bool { return a.text == b.text }) {
			return false
		}
	}
	return f.sound == g.sound && f.exists == g.exists && f.jumped == g.jumped && slices.Equal(f.jumps, g.jumps)
}

// layout is the lines that rules have in each chain. Where places do not matter, lines
// stay where they are.
func (n *xtNames) layout(rules []Rule, have *xtFamily) (lines [xtChains][]xtLine) {
	wanted := map[string]bool{} // of exact rules, and hairpins
	var exact, hairpins []xtLine
	var ordered [xtChains][]xtLine
	for i := range rules {
		r := &rules[i]
		for part := range r.xtParts() {
			l := xtLine{text: r.xtText(part), rule: *r}
			switch {
			case r.Exact():
				exact = append(exact, l)
				wanted[l.text] = true
			case !r.Action.destination():
				ordered[xtPost] = append(ordered[xtPost], l)
			default:
				ordered[xtPre] = append(ordered[xtPre], l)
				if r.local() {
					ordered[xtOut] = append(ordered[xtOut], l)
				}
			}
		}
		if r.Hairpin.IsValid() {
			text := hairpinPair{r.Hairpin, r.To}.String()
			if !wanted[text] {
				hairpins = append(hairpins, xtLine{text: text})
			}
			wanted[text] = true
		}
	}
	lines[xtPub] = stay(exact, have.lines[xtPub], wanted)
	for _, chain := range []int{xtPre, xtOut} {
		lines[chain] = append([]xtLine{n.publish()}, ordered[chain]...)
	}
	lines[xtPost] = append(stay(hairpins, have.lines[xtPost], wanted), ordered[xtPost]...)
	return lines
}

// stay sorts lines so that those that are there already come first, as they do there.
func stay(lines, there []xtLine, wanted map[string]bool) []xtLine {
	out := make([]xtLine, 0, len(lines))
	seen := map[string]bool{}
	for _, l := range there {
		if wanted[l.text] && !seen[l.text] {
			seen[l.text] = true
			out = append(out, l)
		}
	}
	for _, l := range lines {
		if !seen[l.text] {
			out = append(out, l)
		}
	}
	return out
}
