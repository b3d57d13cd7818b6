// Package pace finds how many files are best worked on at once. What that depends on
// (how far away store and bricks are, what they and this host can do, who else is at
// work) nobody can say beforehand, and it changes overnight; so it is tried.
package pace

import "math"

// Interval is what was seen while one number of files was worked on.
type Interval struct {
	Rate      float64 // work done a second, in any unit
	Throttled bool    // the store has asked for fewer requests
	Busy      float64 // share of the host's CPU that was in use, from 0 to 1
}

// Pace climbs: it tries another number for one interval, and keeps it only if that was
// worth it. It begins in large steps; each trial that fails makes the next one come later.
// The zero value is not ready: see New.
type Pace struct {
	least, start, most, now int

	step     float64
	previous int     // the number before the one that is on trial; 0: none is
	rate     float64 // with the previous number, or with now
	wait     int     // intervals before the next trial
	patience int     // the wait after the next trial that fails
}

const (
	firstStep   = 2.0
	laterStep   = 1.25
	enoughGain  = 1.05 // a trial with more files
	saturated   = 0.95 // no free CPU: more at once only makes each of them slower
	shortest    = 4    // waits, in intervals
	longest     = 64
	afterRefuse = 16
)

// New begins with the number start, and stays between least and most. It goes below
// start only where the store refuses.
func New(least, start, most int) *Pace {
	return &Pace{least: least, start: start, most: most, now: start, step: firstStep, patience: shortest}
}

// Next is the number for the next interval, by what was seen in the one that has ended.
func (p *Pace) Next(seen Interval) int {
	switch {
	case seen.Throttled:
		p.now = max(p.least, p.now/2)
		p.previous, p.step, p.wait, p.patience = 0, laterStep, afterRefuse, afterRefuse
		return p.now
	case p.previous == 0 && p.wait > 0:
		p.wait--
		return p.now
	case p.previous != 0 && !p.worth(seen):
		p.now, p.previous = p.previous, 0
		p.step, p.wait, p.patience = laterStep, p.patience, min(2*p.patience, longest)
		return p.now
	}
	p.rate, p.previous = seen.Rate, 0
	next := min(p.most, int(math.Ceil(float64(p.now)*p.step)))
	if seen.Busy >= saturated && p.now >= p.start { // not below: it may be others who take the CPU
		next = max(p.start, int(float64(p.now)/laterStep))
	}
	if next != p.now {
		p.previous, p.now = p.now, next
	}
	return p.now
}

// worth reports whether the number on trial is better than the previous one: more files
// have to bring more, fewer must only not cost anything.
func (p *Pace) worth(seen Interval) bool {
	if p.now > p.previous {
		return seen.Rate >= enoughGain*p.rate
	}
	return seen.Rate >= p.rate
}
