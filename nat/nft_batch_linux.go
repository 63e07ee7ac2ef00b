package nat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// batch is a transaction: the kernel does all of it or nothing
// (net/netfilter/nfnetlink.c).
type batch struct {
	nftWire
	subjects []subject // by sequence number; of elements only the set
	first    int       // where the message behind the beginning is
	whole    bool      // it has its end
}

// subject is what a message is about, for its error.
type subject struct {
	command uint16
	name    string
	rule    *Rule
	fresh   bool // the table is made in this transaction
}

// newBatch begins a transaction that the kernel refuses unless its rules are of that
// generation, unless that is 0. It has room for so many changes.
func newBatch(table string, generation uint32, changes int) *batch {
	b := &batch{nftWire: nftWire{table: table, b: make([]byte, 0, 4<<10+100*changes)}}
	at := b.header(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.u32(unix.NFNL_BATCH_GENID, generation)
	b.end(at)
	b.first = len(b.b)
	return b
}

// renew makes the transaction one for another generation.
func (b *batch) renew(generation uint32) {
	binary.BigEndian.PutUint32(b.b[b.first-4:], generation)
}

// about says what the messages since the last call are about.
func (b *batch) about(s subject) {
	for len(b.subjects) <= int(b.seq) {
		b.subjects = append(b.subjects, s)
	}
}

const acceptPolicy = 1 // NF_ACCEPT (include/uapi/linux/netfilter.h)

// newChain makes a chain, with a hook if it has one.
func (b *batch) newChain(name string, hook *hook) {
	at := b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE)
	b.text(unix.NFTA_CHAIN_TABLE, b.table)
	b.text(unix.NFTA_CHAIN_NAME, name)
	if hook != nil {
		n := b.nest(unix.NFTA_CHAIN_HOOK)
		b.u32(unix.NFTA_HOOK_HOOKNUM, hook.number)
		b.u32(unix.NFTA_HOOK_PRIORITY, uint32(hook.priority))
		b.shut(n)
		b.text(unix.NFTA_CHAIN_TYPE, "nat")
		b.u32(unix.NFTA_CHAIN_POLICY, acceptPolicy)
	}
	b.end(at)
}

// newRule adds a rule to a chain: before the one with a handle, or at the end.
func (b *batch) newRule(chain string, before uint64, write func(), comment string, user []byte) {
	flags := uint16(unix.NLM_F_CREATE)
	if before == 0 {
		flags |= unix.NLM_F_APPEND
	}
	at := b.message(unix.NFT_MSG_NEWRULE, flags)
	b.text(unix.NFTA_RULE_TABLE, b.table)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	if before != 0 {
		b.u64(unix.NFTA_RULE_POSITION, before)
	}
	n := b.nest(unix.NFTA_RULE_EXPRESSIONS)
	write()
	b.shut(n)
	if comment != "" || user != nil {
		b.userData(unix.NFTA_RULE_USERDATA, comment, user)
	}
	b.end(at)
}

func (b *batch) delRule(chain string, handle uint64) {
	at := b.message(unix.NFT_MSG_DELRULE, 0)
	b.text(unix.NFTA_RULE_TABLE, b.table)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	b.u64(unix.NFTA_RULE_HANDLE, handle)
	b.end(at)
}

// flushChain deletes all rules of a chain.
func (b *batch) flushChain(chain string) {
	at := b.message(unix.NFT_MSG_DELRULE, 0)
	b.text(unix.NFTA_RULE_TABLE, b.table)
	b.text(unix.NFTA_RULE_CHAIN, chain)
	b.end(at)
}

// tableMessage makes the table or deletes it with all that is in it.
func (b *batch) tableMessage(command, flags uint16) {
	at := b.message(command, flags)
	b.text(unix.NFTA_TABLE_NAME, b.table)
	b.end(at)
}

// commit sends the transaction, and calls echo with the rules that were asked for,
// by their sequence numbers.
func (b *batch) commit(s *nftSocket, echo func(seq uint32, handle uint64)) error {
	if b.seq == 1 {
		return nil // nothing to do
	}
	if !b.whole {
		b.whole = true
		b.flag(b.begun, unix.NLM_F_ACK)
		b.end(b.header(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	}
	last := b.seq - 1 // what is to be acknowledged: old kernels do not do that for the end
	s.c.SetReadDeadline(time.Time{})
	if err := s.send(b.b); err != nil {
		return explainSend(err, len(b.b))
	}
	done, lost, failed := false, false, error(nil)
	for more := true; more; {
		var err error
		more, err = s.receive(false, func(h netlink.Header, data attrs) error {
			switch {
			case h.Type == netlink.Error:
				errno := readErrno(data)
				done = done || errno == 0 && h.Sequence == last
				if errno != 0 && failed == nil {
					failed = b.explain(errno, h.Sequence)
				}
			case h.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE && len(data) > nfgenSize:
				echo(h.Sequence, data[nfgenSize:].u64(unix.NFTA_RULE_HANDLE))
			}
			return nil
		})
		switch {
		case errors.Is(err, unix.ENOBUFS): // some answers; the others are there
			lost, more = true, true
		case err != nil:
			return err
		}
	}
	switch {
	case failed != nil || done:
		return failed
	case lost:
		return errors.New("the kernel's answer was lost (net.core.rmem_max is too low): look with List whether the change is made")
	}
	return errors.New("the kernel has not answered: look with List whether the change is made")
}

func (b *batch) explain(errno error, seq uint32) error {
	s := subject{}
	if int(seq) < len(b.subjects) {
		s = b.subjects[seq]
	}
	return explain(errno, s)
}

func explainSend(err error, size int) error {
	if errors.Is(err, unix.EMSGSIZE) || errors.Is(err, unix.ENOBUFS) {
		return fmt.Errorf("a change of %d bytes at once is more than this socket takes: raise net.core.wmem_max, or make it in parts: %w", size, err)
	}
	return explain(err, subject{})
}

// kindError is an errno with words, that matches an error of the standard library, too.
type kindError struct {
	text string
	kind error
	err  error
}

func (e *kindError) Error() string   { return e.text + " (" + e.err.Error() + ")" }
func (e *kindError) Unwrap() []error { return []error{e.kind, e.err} }

// explain says what an errno means, and what to do.
func explain(err error, s subject) error {
	unsupported := func(text string) error { return &kindError{text, errors.ErrUnsupported, err} }
	switch {
	case errors.Is(err, unix.ERESTART):
		return errChanged
	case errors.Is(err, fs.ErrPermission):
		return &kindError{"CAP_NET_ADMIN is needed in the network namespace, and the table must not be another process's (flag owner)", fs.ErrPermission, err}
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), s.none() && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)):
		return unsupported("nf_tables is not in this kernel: modprobe nf_tables, or use iptables")
	case s.command == unix.NFT_MSG_NEWTABLE && errors.Is(err, unix.EOPNOTSUPP):
		return unsupported("nf_tables has no tables of the family inet in this kernel: use iptables")
	case s.command == unix.NFT_MSG_NEWCHAIN && s.fresh && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)):
		return unsupported("nf_tables has no chains of the type nat in this kernel: modprobe nft_chain_nat, or use iptables")
	case s.command == unix.NFT_MSG_NEWRULE && s.fresh && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP)):
		return unsupported(s.words() + ": this kernel lacks a part of nf_tables that it needs: modprobe nft_nat nft_masq nft_redir nft_ct, or use iptables")
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST):
		// What we had read is not so any more, though the generation says so.
		return fmt.Errorf("%s: the table is not what it was a moment ago: Apply again: %w", s.words(), err)
	case s.none():
		return fmt.Errorf("nf_tables: %w", err)
	}
	return fmt.Errorf("%s: %w", s.words(), err)
}

// none tells a subject that is not known: the transaction itself, or a question.
func (s subject) none() bool { return s.name == "" && s.rule == nil }

func (s subject) words() string {
	if s.rule != nil {
		return s.rule.String()
	}
	return s.name
}
