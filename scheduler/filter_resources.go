package scheduler

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// roomFilter is the name of the filter that refuses full hosts.
const roomFilter = "resources"

// roomWhy says what a host lacks for d; "" if nothing.
func (f *fleet) roomWhy(h int32, d fsm.Resources) string {
	t := &f.seats[h]
	switch {
	case t.fits(d):
		return ""
	case t.freeMem < d.MemoryBytes:
		return fmt.Sprintf("needs %s of memory, %s free", bytesText(d.MemoryBytes), bytesText(max(0, t.freeMem)))
	case t.freeCPU < d.MilliCPU:
		return fmt.Sprintf("needs cpu %s, %s free", coresText(d.MilliCPU), coresText(max(0, t.freeCPU)))
	default:
		return fmt.Sprintf("is full with %d jails", t.jails)
	}
}

// crowded is the refusal of those of r's open hosts that have no room for d,
// a host given as freed having got back what its Run holds.
func (f *fleet) crowded(r *rules, d fsm.Resources) []FilterResult {
	refused := r.refused[:len(r.refused):len(r.refused)]
	var full FilterResult
	for _, h := range r.open {
		if f.seats[h].fits(d) {
			continue
		}
		if full.Hosts == 0 {
			full = FilterResult{Filter: roomFilter, Host: f.hosts[h].Name, Why: f.roomWhy(h, d)}
		}
		full.Hosts++
	}
	if full.Hosts > 0 {
		refused = append(refused, full)
	}
	return refused
}

func coresText(milli int64) string { return fmt.Sprintf("%d.%02d", milli/1000, milli%1000/10) }

func bytesText(n int64) string {
	const unit = 1 << 10
	switch {
	case n < unit:
		return fmt.Sprintf("%dB", n)
	case n < unit*unit:
		return fmt.Sprintf("%dK", n/unit)
	case n < unit*unit*unit || n%(unit*unit*unit) != 0 && n < 10*unit*unit*unit:
		return fmt.Sprintf("%dM", n/unit/unit)
	default:
		return fmt.Sprintf("%dG", n/unit/unit/unit)
	}
}
