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
// # Order
//
// Rules that publish ports ([Rule.Exact]) come before all others; each port of an
// address can be published once. The others are tried in the order of the list: the
// first that matches a new connection is the one that counts. There are two tries, one
// where the destination can change (DNAT, Redirect) and, after routing, one
// where the source can (hairpins first, then SNAT and Masquerade), so that only the
// order among the rules of one side and family matters.
//
// The gateway's own connections are led by exact rules and by DNAT rules that have a
// Destination and no In, as those of its clients are; by no others.
//
// # Where the rules are
//
// Both backends do the same to packets. [NFTables] has one table of the family inet with
// the Config.Name; published ports are elements of one map for each family, so that
// a connection costs the same with a hundred thousand as with one. Its chains
// come at priorities -110 and 90, before those of other programs: the first
// rewriting is the one that counts, also where those are iptables. A change is one
// transaction. [IPTablesNFT] and [IPTablesLegacy] have the chains NAME-PRE, NAME-OUT,
// NAME-POST and NAME-PUB in the table nat, with one commented jump to each from the
// built-in chain, before all that others have there. A change is one iptables-restore for
// each family: IPv4 and IPv6 change one after the other.
//
// What is not in that table or in those chains is never touched, and nothing of
// ours is ever in two backends ([ErrMixed]). Of what is there, only rules as this package
// writes them count; anything else is damage, which Apply and Run mend.
//
// # What it is not
//
// No filter: what is translated must also be allowed to pass, by the rules of whoever
// filters. No routing, and no kernel settings: a gateway needs
// net.ipv4.ip_forward, which package sysctl of this module sets by role. A
// connection that is tracked keeps its translation, whatever the rules say later; only
// flows of UDP and of other protocols without connections, which never end, are
// forgotten when a change concerns them.
//
// # Beside IPVS
//
// A director with NAT whose real servers have another gateway rewrites the
// source as well, so that the answers come back: Masquerade, or SNAT, with Original
// and OriginalPort the virtual service. It matches once net.ipv4.vs.conntrack is 1;
// without, IPVS keeps its connections from conntrack, and no rule sees them.
//
// # How it flows
//
// Rules are values (rule.go) with one text (parse.go), one judgement
// (validate.go) and one number of bytes (codec.go). Table (table.go, config.go,
// error.go) takes one call at a time: it gets what is there (state.go, with
// index.go to find a rule) from its backend (backend.go), asks plan.go for the
// difference, and has the backend write it: all of it, or nothing if others were
// there meanwhile; then it begins again. stale.go, by flow.go, says which flows that made
// stale, and conntrack_linux.go has the kernel forget them. run.go does the same when
// the backend says that others were there, and pace.go keeps it from fighting.
//
// The backend of nftables speaks netlink itself: nft_conn_linux.go is the socket,
// nft_wire_linux.go the bytes, nft_rule_linux.go with nft_expr_linux.go a rule and
// nft_set_linux.go an element; nft_linux.go reads by nft_read_linux.go, knows by the kernel's
// generation whether that is current, and writes by nft_write_linux.go and
// nft_batch_linux.go; nft_watch_linux.go listens. That of iptables (iptables_linux.go)
// runs programs (iptables_run_linux.go): what they print is read by iptables_parse.go
// into the chains of iptables_chains.go, and what they read is the lines of
// iptables_text.go, put together by iptables_edit.go. backend_linux.go chooses,
// by iptables_variant_linux.go and nft_probe_linux.go.
package nat
