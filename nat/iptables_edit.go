package nat

import (
	"strconv"
	"strings"
)

// xtEditsMost is how many lines are edited in place. More of them, and the chains are
// filled anew, with the counters that were read.
const xtEditsMost = 64

// restore is the input of iptables-restore -n -c that makes the chains have the lines
// of rules, or "" if they do. Where few rules change, their lines are edited; those
// that move lose their counters.
func (n *xtNames) restore(f *xtFamily, rules []Rule, moved map[Rule]bool, few bool) string {
	if len(rules) == 0 {
		return n.remove(f)
	}
	want := n.layout(rules, f)
	f.next = &want
	if f.there && f.sound && few {
		if text, ok := n.edit(f, &want, moved); ok {
			return text
		}
	}
	return n.fill(f, &want)
}

func xtCommit(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "*nat\n" + strings.Join(lines, "\n") + "\nCOMMIT\n"
}

// remove takes away all that is ours.
func (n *xtNames) remove(f *xtFamily) string {
	lines := n.removeJumps(f)
	for chain := range n {
		if f.jumped[chain] {
			lines = append(lines, "-D "+xtHooks[chain]+" "+n.jump(chain))
		}
	}
	for _, op := range []string{"-F ", "-X "} {
		for chain, name := range n {
			if f.exists[chain] {
				lines = append(lines, op+name)
			}
		}
	}
	return xtCommit(lines)
}

// removeJumps takes away jumps that are ours but not as they should be.
func (n *xtNames) removeJumps(f *xtFamily) (lines []string) {
	for _, jump := range f.jumps {
		lines = append(lines, "-D "+jump)
	}
	return lines
}

// xtFills is how an input begins that fills the chains anew, with counters.
const xtFills = "*nat\n:"

// fill makes the chains from the beginning: naming a chain makes or empties it.
func (n *xtNames) fill(f *xtFamily, want *[xtChains][]xtLine) string {
	text := []byte("*nat\n")
	add := func(words ...string) {
		for _, w := range words {
			text = append(text, w...)
		}
		text = append(text, '\n')
	}
	for _, name := range n {
		add(":", name, " - [0:0]")
	}
	for _, line := range n.removeJumps(f) {
		add(line)
	}
	for chain, name := range n {
		if hook := xtHooks[chain]; hook != "" && !f.jumped[chain] {
			add("-I ", hook, " 1 ", n.jump(chain))
		}
		have := make(map[string]int, len(f.lines[chain]))
		for i := range f.lines[chain] {
			have[f.lines[chain][i].text] = i
		}
		for i := range want[chain] {
			var packets, bytes uint64
			if at, ok := have[want[chain][i].text]; ok {
				old := &f.lines[chain][at]
				packets, bytes = old.packets, old.bytes
			}
			text = append(strconv.AppendUint(append(text, '['), packets, 10), ':')
			text = strconv.AppendUint(text, bytes, 10)
			add("] -A ", name, " ", want[chain][i].text)
		}
	}
	add("COMMIT")
	return string(text)
}

// edit changes lines in their places, unless they are too many.
func (n *xtNames) edit(f *xtFamily, want *[xtChains][]xtLine, moved map[Rule]bool) (text string, ok bool) {
	var lines []string
	for chain, name := range n {
		wanted, there := make(map[string]bool, len(want[chain])), make(map[string]bool, len(want[chain]))
		for i := range want[chain] {
			l := &want[chain][i]
			wanted[l.text] = len(moved) == 0 || !moved[l.rule]
		}
		var kept []string
		for i := range f.lines[chain] {
			l := &f.lines[chain][i]
			if wanted[l.text] {
				kept = append(kept, l.text)
				there[l.text] = true
			} else {
				lines = append(lines, "-D "+name+" "+l.text)
			}
		}
		lines = append(lines, insertions(name, want[chain], there)...)
		if len(lines) > xtEditsMost || !inOrder(kept, want[chain], there) {
			return "", false
		}
	}
	return xtCommit(lines), true
}

// insertions adds the lines that are not there, each before one that is, the last ones
// first: so that the places of those that are still to come hold.
func insertions(chain string, want []xtLine, there map[string]bool) (out []string) {
	place, last := 1, true // of the line behind
	for _, l := range want {
		if there[l.text] {
			place++
		}
	}
	for end := len(want); end > 0; {
		start := end
		for start > 0 && !there[want[start-1].text] {
			start--
		}
		for i, l := range want[start:end] {
			if last {
				out = append(out, "-A "+chain+" "+l.text)
			} else {
				out = append(out, "-I "+chain+" "+strconv.Itoa(place+i)+" "+l.text)
			}
		}
		end, last = start-1, false
		place--
	}
	return out
}

// inOrder tells whether the lines that stay are in the order in which they are wanted.
func inOrder(kept []string, want []xtLine, there map[string]bool) bool {
	for _, l := range want {
		if there[l.text] {
			if len(kept) == 0 || kept[0] != l.text {
				return false
			}
			kept = kept[1:]
		}
	}
	return len(kept) == 0
}
