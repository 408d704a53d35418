package dnsd

// change is a set in place of another one; nil is none.
type change struct {
	name     string // of the owner, lower case, wire format
	apex     *apex
	old, new *answer
}

// delta is what changed from one Zone to the next.
type delta struct {
	to      uint32 // serial
	changes []change
}

// Limits of what a Zone remembers for incremental transfers. Whoever comes
// from farther back gets everything.
const (
	maxDeltas  = 512
	maxChanges = 20000
)

// remember appends what changed from z's predecessor to what led to that.
func (z *Zone) remember(before *Zone, changes []change) {
	if len(changes) == 0 {
		return
	}
	past, total := before.past, len(changes)
	keep := len(past)
	for keep > 0 && len(past)-keep < maxDeltas-1 && total+len(past[keep-1].changes) <= maxChanges {
		keep--
		total += len(past[keep].changes)
	}
	if total > maxChanges { // this change alone is too much
		z.past, z.since = nil, z.serial
		return
	}
	if keep > 0 {
		z.since = past[keep-1].to
	}
	z.past = append(past[keep:len(past):len(past)], delta{z.serial, changes})
}
