package nat

import (
	"context"
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// nft is the backend of nftables: one table of the family inet.
//
//	chain prerouting  -110  looks up published4 and published6, then goes to destination
//	chain output      -110  the same, then local: what concerns the gateway's own connections
//	chain postrouting   90  goes to hairpin, then source
//
// They come before other programs' chains at the usual priorities: the first rewriting
// is the one that counts.
type nft struct {
	namespace
	name   string
	socket *nftSocket    // nil until it is needed, and after it failed
	port   atomic.Uint32 // of the socket: the sender of our own changes, for watch
	noisy  bool          // others have written between reading and writing
	news   *nftSocket    // listens while they do; else nil
	size   int           // how many exact rules there were when they were read
	last   *state        // what is there as long as the generation is the same; nil: unknown
}

func (n *nft) kind() Backend { return NFTables }

func (n *nft) close() error {
	n.drop()
	n.hushed()
	return n.namespace.close()
}

// drop closes the socket: no answer to what failed can come to what follows.
func (n *nft) drop() {
	if n.socket != nil {
		n.port.Store(0)
		n.socket.close()
		n.socket = nil
	}
}

// dial makes sure of the socket.
func (n *nft) dial() error {
	if n.socket != nil {
		return nil
	}
	s, err := dialNFT(n.namespace)
	if err == nil {
		n.socket = s
		n.port.Store(s.c.PID())
	}
	return err
}

// ask asks for something of our table: attribute is 0, or that of a name.
func (n *nft) ask(ctx context.Context, command, flags, attribute uint16, name string, each func(attrs) error) error {
	if err := n.dial(); err != nil {
		return err
	}
	w := &nftWire{table: n.name, b: make([]byte, 0, 128)}
	at := w.message(command, flags)
	if command != unix.NFT_MSG_GETGEN {
		w.text(unix.NFTA_TABLE_NAME, n.name) // the tables' names of all commands have this type
	}
	if attribute != 0 {
		w.text(attribute, name)
	}
	w.end(at)
	err := n.socket.request(ctx, w, n.news == nil, each)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		n.drop()
		err = explain(err, subject{})
	}
	return err
}

// generation is the number of the transaction after which the rules of this namespace
// are as they are, those of others too.
func (n *nft) generation(ctx context.Context) (id uint32, err error) {
	err = n.ask(ctx, unix.NFT_MSG_GETGEN, 0, 0, "", func(data attrs) error {
		id = data.u32(unix.NFTA_GEN_ID)
		return nil
	})
	return id, err
}

// following is the generation after another: zero is none (net/netfilter/nf_tables_api.c).
func following(generation uint32) uint32 {
	return max(generation+1, 1)
}

// quietAttempts is how often our table is read in the hope that nobody writes
// meanwhile.
const quietAttempts = 2

// read reads our table.
func (n *nft) read(ctx context.Context) (s *state, err error) {
	n.last = nil
	for i := range attempts {
		s = new(state)
		if err = n.readOnce(ctx, s, n.noisy || i >= quietAttempts); !errors.Is(err, errChanged) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if !s.there || s.sound {
		n.last = s
	}
	return s, nil
}

// readOnce reads our table, and is sure that nobody has written to it meanwhile: nobody
// to any table, or as it has listened.
func (n *nft) readOnce(ctx context.Context, s *state, listen bool) (err error) {
	if listen && n.news == nil {
		if n.news, err = listenNFT(n.namespace, followSize); err != nil {
			return err
		}
	}
	before, err := n.generation(ctx)
	if err != nil {
		return err
	}
	s.nft.generation = before
	if err := n.readTable(ctx, s); err != nil {
		return err
	}
	if n.news != nil {
		return n.follow(s, false)
	}
	after, err := n.generation(ctx)
	if err == nil && after != before {
		err = errChanged
	}
	return err
}

// current is what was read or written last, if nobody has written since.
func (n *nft) current(ctx context.Context) (*state, error) {
	if n.last == nil {
		return n.read(ctx)
	}
	now, err := n.generation(ctx)
	switch {
	case err != nil:
		return nil, err
	case now == n.last.nft.generation:
		n.hushed()
		n.noisy = false
		return n.last, nil
	case n.news != nil && n.follow(n.last, false) == nil:
		return n.last, nil
	}
	return n.read(ctx)
}

// clear removes the table.
func (n *nft) clear(ctx context.Context) error {
	n.last = nil
	if err := n.dial(); err != nil {
		return err
	}
	b := newBatch(n.name, 0, 1)
	b.tableMessage(unix.NFT_MSG_DELTABLE, 0)
	b.about(subject{command: unix.NFT_MSG_DELTABLE, name: "table inet " + n.name})
	err := b.commit(n.socket, nil)
	switch {
	case errors.Is(err, unix.ENOENT):
		err = nil // others were faster
	case err != nil:
		n.drop()
	}
	return err
}
