package nat

import "time"

const (
	// settle is how long Run waits after news before it looks, so that what others do in
	// several steps is done: a reload of the firewall, a restart of docker. It waits
	// no longer than settleMost if there is more and more news.
	settle     = 100 * time.Millisecond
	settleMost = 500 * time.Millisecond
	// resync is when it looks without news.
	resync = 30 * time.Second
	// repairsAtOnce are made without a pause; then a pause comes before each, from
	// againLeast on twice as long each time up to againMost, until none was needed
	// for as long as calm.
	repairsAtOnce = 5
	againLeast    = time.Second
	againMost     = time.Minute
	calm          = 2 * time.Minute
	// rest and restMost are how many times as long as a look took there is none after
	// one, and after many, that found nothing wrong: a look at many rules costs, and
	// others may change theirs all the time.
	rest     = 5
	restMost = 50
)

// pace says when Run looks at the rules. It is pure: times are arguments.
type pace struct {
	due   time.Time     // the next look
	since time.Time     // of news that was not looked at; zero without
	free  time.Time     // no look before
	most  time.Duration // the longest rest: with it, the next look is in time
	vain  int           // looks that found nothing, without a resync between them
	look  time.Time     // the last one of them
	tries int           // repairs without a calm between them
	last  time.Time     // the last one of them
}

// news is that something may have changed.
func (p *pace) news(now time.Time) {
	if p.since.IsZero() {
		p.since = now
	}
	at := now.Add(settle)
	if latest := p.since.Add(settleMost); at.After(latest) {
		at = latest
	}
	if at.Before(p.free) {
		at = p.free
	}
	p.due = at
}

// looked is that a look is over, how long it took, whether it had something to
// repair, and whether that failed.
func (p *pace) looked(now time.Time, took time.Duration, repaired, failed bool) {
	p.since, p.due = time.Time{}, now.Add(resync)
	if !repaired && !failed {
		if p.vain++; now.Sub(p.look) >= resync {
			p.vain = 1
		}
		p.look, p.free = now, now.Add(min(took*time.Duration(min(p.vain*rest, restMost)), p.most))
		return
	}
	if p.tries++; now.Sub(p.last) > calm {
		p.tries = 1
	}
	p.vain, p.last, p.free = 0, now, now
	if p.contested() {
		p.free = now.Add(p.pause())
	}
	if failed {
		p.due = now.Add(p.pause())
	}
}

// pause is that after the last repair.
func (p *pace) pause() time.Duration {
	return min(againLeast<<min(max(p.tries-repairsAtOnce-1, 0), 10), againMost)
}

// contested tells that there are too many repairs for an accident.
func (p *pace) contested() bool { return p.tries > repairsAtOnce }
