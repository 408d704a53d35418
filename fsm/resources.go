package fsm

import (
	"fmt"

	"github.com/rexcarcer/rexcarcer/spec"
)

// Resources are reserved and offered. Zero in a demand means "as much as it gets".
type Resources struct {
	MilliCPU    int64 `json:"milli_cpu"`
	MemoryBytes int64 `json:"memory_bytes"`
	Jails       int64 `json:"jails"` // 1 in a demand; capacity 0 is no limit
}

// Add returns r + o.
func (r Resources) Add(o Resources) Resources {
	return Resources{r.MilliCPU + o.MilliCPU, r.MemoryBytes + o.MemoryBytes, r.Jails + o.Jails}
}

// Sub returns r - o.
func (r Resources) Sub(o Resources) Resources {
	return Resources{r.MilliCPU - o.MilliCPU, r.MemoryBytes - o.MemoryBytes, r.Jails - o.Jails}
}

// Fits reports whether demand goes into what is left of capacity r with used
// taken. Only dimensions with a capacity above 0 limit.
func (r Resources) Fits(used, demand Resources) bool {
	return (r.MilliCPU <= 0 || used.MilliCPU+demand.MilliCPU <= r.MilliCPU) &&
		(r.MemoryBytes <= 0 || used.MemoryBytes+demand.MemoryBytes <= r.MemoryBytes) &&
		(r.Jails <= 0 || used.Jails+demand.Jails <= r.Jails)
}

// String is for people: "1.5 cpu, 512 MiB, 3 jails".
func (r Resources) String() string {
	return fmt.Sprintf("%g cpu, %d MiB, %d jails", float64(r.MilliCPU)/1000, r.MemoryBytes>>20, r.Jails)
}

// Demand is what j reserves on its host.
func Demand(j *spec.Jail) Resources {
	return Resources{MilliCPU: int64(j.Limits.CPU * 1000), MemoryBytes: j.Limits.MemoryBytes, Jails: 1}
}
