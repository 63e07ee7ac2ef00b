package nat

import "context"

// What iptables-nft has need not be read each time: nf_tables counts its transactions.
// The chains are as they were read, or as they were written since, while the number
// says that there was no other.

// xtKnown says what b.last and b.ipt are worth.
type xtKnown struct {
	nft        nft    // asks for the generation
	generation uint32 // zero: they are worth nothing
}

// begin is called before a read.
func (k *xtKnown) begin(ctx context.Context, variant Backend) {
	k.generation = 0
	if variant != IPTablesNFT {
		return
	}
	if id, err := k.nft.generation(ctx); err == nil {
		k.generation = id
	}
}

// forget is called before a write, and tells what was known.
func (k *xtKnown) forget() uint32 {
	id := k.generation
	k.generation = 0
	return id
}

func (b *xtables) current(ctx context.Context) (*state, error) {
	if b.known.generation != 0 {
		if id, err := b.known.nft.generation(ctx); err == nil && id == b.known.generation {
			return b.last, nil
		}
	}
	return b.read(ctx)
}

// remember takes for read what was written, up to its counters, if the generation before
// was known.
func (b *xtables) remember(lists *[2][]Rule, generation uint32) {
	if generation == 0 {
		return
	}
	for i, list := range lists {
		f := &b.ipt[i]
		next := xtFamily{err: f.err, held: f.held, stale: true, sound: true}
		switch {
		case len(list) == 0:
		case f.next == nil: // nothing was written
			continue
		default:
			next.there, next.lines = true, *f.next
			for chain, hook := range xtHooks {
				next.exists[chain], next.jumped[chain] = true, hook != ""
			}
			b.names.finish(&next)
		}
		b.ipt[i] = next
	}
	b.last = new(state)
	b.sum(b.last)
	b.known.generation = generation
}

func (b *xtables) close() error {
	b.known.nft.drop()
	return b.namespace.close()
}
