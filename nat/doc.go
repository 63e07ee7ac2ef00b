// Package nat keeps rules of network address translation in the kernel of a Linux
// gateway: SNAT and masquerade for an inside network, DNAT and redirect for
// published ports.
//
// A [Rule] says what is rewritten. [Table.Apply] makes the rules of one program
// those that are wanted, by the smallest change and at once; [Plan] and [Table.Plan]
// are its dry run; [Table.Add] and [Table.Remove] change single ones; [Table.List] reads
// them with their counters; [Table.Run] puts back what others take away, and
// [Table.Clear] leaves nothing behind. [ParseRule] reads a rule from one line.
//
// # How it flows
//
// Rules are values (rule.go) with one text (parse.go) and one judgement
// (validate.go). Table (table.go) takes one call at a time: it reads what is there
// by its backend (backend.go), asks Plan (plan.go) for the difference, has the backend
// write it in one transaction and conntrack forget what it made stale. run.go does
// the same when the backend says that somebody else was there.
package nat
