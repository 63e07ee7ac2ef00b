// Package health finds out which servers live: probers for the usual protocols, a
// Monitor that calls any number of them, and the policy of a pool.
//
// A [Prober] asks one thing once: [TCP], [HTTP], [TLS], [SMTP], [DNS], [UDP],
// [GRPC], ICMP echo by a [Pinger], a [Script], a [Process] or a [File], several of
// them together ([All], [Any], [AtLeast], [Not]), or what a program brings itself
// ([ProberFunc]). A [Monitor] probes again and again, each [Check] with its own
// intervals and thresholds, and tells every [Change] in order. What its
// [Monitor.Snapshot] says of real servers becomes weights in a [Pool], by a
// [Policy]; what it says of this machine becomes a VRRP priority by [Priority].
// Prometheus metrics are in healthprom.
//
// # What it is not
//
// No table and no address is changed here: the program does, with what Pool and
// Priority say. Names are not resolved: probers take addresses, so that a resolver
// that is slow is not a server that is dead. Connections of clients are not watched.
//
// # Up, down, unknown
//
// A result passes, fails, or is inconclusive ([ErrInconclusive]): a descriptor or a
// port was missing, a script could not be started, the probe was cancelled, got no
// place within its timeout, or this process was starved. Inconclusive results change
// nothing and break no row; the probe is repeated after RetryInterval once. A check is
// Unknown until its first conclusive result, which decides alone, or starts with
// Check.Initial. Then Fall failures in a row take it down and Rise successes bring
// it up. With MaxAge it becomes Unknown again if nothing conclusive comes for so
// long: a prober that hangs, a machine without descriptors. Without, the state
// stays, and only Status.Inconclusive and Status.Running tell.
//
// # Times
//
// From the death of a server to the change is at most Interval + (Fall-1) *
// RetryInterval + Timeout, and the jitter: 8 s with the defaults for one that is silent,
// 7 s for one that refuses; 3 and 2 s with an Interval of 1 s and Fall 2 (if Timeout is
// not longer than RetryInterval). A process that is late meanwhile is later (see
// Starved): by little if it is often late for a moment, by what Load.StarvedFor adds up
// and the longest of it once more for each probe at most. Intervals are from start to start. They vary by Jitter, and
// keep their phase when one is late; ticks that were missed are not made up for. Of
// Config.Probes only so many are under way at once.
//
// Checks with equal Keys are probed once for all: a server that is in many pools is
// asked once an interval.
//
// # Starved
//
// A process that was stopped, or whose goroutines wait for processors, sees time pass
// though the answers are there. While probes are under way, a watchdog looks every 10 ms
// how late this process is, by its timers and by the queue in which goroutines wait that
// the network has woken up. The Monitor itself ends a probe, and not before the process
// has had the time, after the longest lateness, to read what came in meanwhile: as long
// again and 40 ms. What a prober of this package was late by (more than 5 ms) until the
// network last brought it something does not count against its Timeout; for what it then
// waits for, it does, as that is here when the process is. Of other Probers nobody knows
// how far they are: no lateness counts. Silence until that end is a failure. But a
// process that is late all the time ends its probes after ten times the Timeout, or 30 s
// more than it.
//
// What else fails may be due to that, too: a server has given up, a script has fallen
// behind, a Prober has taken the Deadline of its context for the end, which is that of a
// process in time. Such a failure (save by a refused connection, which is an answer),
// and a pass by silence ([Not]), is inconclusive if in its time the process was once
// late by a quarter of the time up to the Deadline; so is one at the very last end if
// the process was late by a quarter of all of it; and any if the machine was suspended.
// After such a lateness the Deadline of the next probe is one to which the same again is
// less than a quarter, so that a Prober which goes by it comes to a conclusion. But do
// not choose a Timeout below 1 s on a machine that has other work; and a Monitor that
// needs more processor time than there is tells by Status.Inconclusive and
// [Monitor.Load].
//
// # Probers of one's own
//
// A Prober must return soon after its context ends: by Done, or context.AfterFunc, of
// which the latter takes no goroutine. One that does not keeps its place, and holds up
// nothing else; Status.Running tells since when, and Run waits 10 s for it in the end. A
// Prober that panics ends the program, as any function does that a goroutine of the
// program calls: what it has left in disorder is not hidden behind a failed check.
//
// # What it needs
//
// Nothing for most. Source.Mark takes CAP_NET_ADMIN, as does Source.Device where the
// kernel is older than 5.7; Source.NetNS takes CAP_SYS_ADMIN. Of descriptors, as
// many as probes are under way. See the probers for what is their own. The Monitor,
// the network probers without those three, and the policy run on every system.
//
// # How it flows
//
// check.go is what is wanted, monitor.go what a program calls, run.go the life of a Run:
// a loop takes from schedule.go what is due and gives it to workers, or to the queue of
// share.go, which is what checks have in common. A worker calls a Prober (prober.go)
// with the context of deadline.go, which the loop ends; starve.go says whether a failure
// counts, state.go makes a state of results, and notify.go tells of the changes;
// status.go is how all of it looks from outside.
//
// The probers of the network, tcp.go, http.go (http1.go, http2.go), tls.go, smtp.go, dns.go, udp.go,
// grpc.go and icmp.go, go out by dial.go from a Source (source.go), and fault.go
// knows which errors are this machine's own. script.go, process.go and file.go look
// at this machine, combine.go asks several. pool.go and priority.go, pure, say what
// follows from it, with weights by weight.go. errors.go has the errors.
package health
