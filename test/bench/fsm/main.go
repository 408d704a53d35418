// Command fsm measures what one entry costs to decode and apply in a cluster
// of 1,000 and in one of 100,000 jails: it must not grow with the cluster.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// goal is the least ratio of the cost at 1,000 to that at 100,000 jails.
const goal = 0.5

// ballast is what the daemon has too, see cmd/rexcarcer: a heap of a few MB
// would be collected all the time.
var ballast = make([]byte, 32<<20)

const (
	small, large = 1000, 100_000
	perWish      = 1000
	hosts        = 100
)

func main() {
	rounds := flag.Int("rounds", 5, "measurements of each, by turns")
	length := flag.Duration("length", time.Second/3, "processor time of each")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	defer runtime.KeepAlive(ballast)
	if err := bench(*rounds, *length); err != nil {
		fmt.Fprintln(os.Stderr, "bench fsm:", err)
		os.Exit(1)
	}
}

func bench(rounds int, length time.Duration) error {
	few, err := fill(small)
	if err != nil {
		return err
	}
	many, err := fill(large)
	if err != nil {
		return err
	}
	var rows []report.Row
	for _, c := range []struct {
		name string
		next func(c *crowd, i int) fsm.Command
	}{{"apply a report", reportOf}, {"apply a wish of 100 jails", wishOf}} {
		row := report.Row{Name: fmt.Sprintf("%s, %d jails", c.name, large), Unit: "us of CPU", PeerName: fmt.Sprintf("ours at %d jails", small)}
		for range rounds {
			for _, side := range []struct {
				into  *[]float64
				crowd *crowd
			}{{&row.Ours, many}, {&row.Peer, few}} {
				us, err := side.crowd.measure(length, c.next)
				if err != nil {
					return err
				}
				*side.into = append(*side.into, us)
			}
		}
		rows = append(rows, row)
	}
	if err := report.Write("fsm", rows); err != nil {
		return err
	}
	for _, r := range rows {
		if r.Ratio() < goal {
			fmt.Printf("FELL SHORT: %s costs %.1fx what it costs at %d, %.0fx is the goal\n", r.Name, 1/r.Ratio(), small, 1/goal)
		}
	}
	return nil
}

// crowd is a State of n jails, placed, running and healthy.
type crowd struct {
	n     int
	s     *fsm.State
	index uint64
	now   fsm.Time
}

func fill(n int) (*crowd, error) {
	c := &crowd{n: n, s: fsm.New(), now: fsm.TimeOf(time.Now())}
	cmds := []fsm.Command{fsm.Genesis{ClusterID: "rc-bench", Domain: "rex.internal", CA: "PEM"}}
	for i := range hosts {
		cmds = append(cmds, fsm.RegisterHost{Host: fsm.Host{ID: hostName(i), Name: string(hostName(i)), Role: "server", State: fsm.HostAlive,
			OS: "linux", Arch: "amd64", Runtime: "sim", Version: "1", Capacity: fsm.Resources{MilliCPU: 1 << 40, MemoryBytes: 1 << 60}}})
	}
	for w := range n / perWish {
		cmds = append(cmds, fsm.ApplyWish{Wish: wish(fmt.Sprintf("w%03d", w), fmt.Sprintf("10.%d.%d.0/21", w/32, w%32*8), perWish)})
		for i := range perWish {
			j, h := jailName(w, i), hostName(i%hosts)
			cmds = append(cmds, fsm.PlaceJail{Jail: j, Host: h, Seq: 1, Why: "bench"},
				fsm.ReportRun{Jail: j, Host: h, Seq: 1, Phase: fsm.Running, Health: fsm.HealthHealthy})
		}
	}
	var err error
	for _, cmd := range cmds {
		if c.s, err = c.apply(cmd); err != nil {
			return nil, err
		}
		c.index++
		c.now++
	}
	return c, nil
}

func hostName(i int) fsm.HostID { return fsm.HostID(fmt.Sprintf("h%03d", i)) }

func jailName(w, i int) fsm.JailName { return fsm.JailName(fmt.Sprintf("w%03d-%d", w, i+1)) }

func wish(name, subnet string, n int) spec.Wish {
	w := spec.Wish{Name: name, Networks: []spec.Network{{Name: name, Subnet: netip.MustParsePrefix(subnet)}},
		Images: []spec.Image{{Name: name, Key: "sha256:" + strings.Repeat("1", 64), Base: "debian:bookworm"}}}
	for i := range n {
		w.Jails = append(w.Jails, spec.Jail{Name: fmt.Sprintf("%s-%d", name, i+1), Group: name, Index: i + 1, Replicas: n, Image: name,
			NICs: []spec.NIC{{Network: name}}, Command: []string{"serve"}, Services: []spec.Service{{Name: "http", Port: 80}},
			Limits:  spec.Limits{MemoryBytes: 64 << 20, CPU: 0.1},
			Restart: spec.Restart{Policy: "always", Backoff: time.Second, MaxBackoff: time.Minute}, Update: spec.Update{MaxParallel: 1}, Stop: time.Second})
	}
	w.Normalize()
	return w
}

// apply folds cmd into the State, as a replica does it with what it was sent.
func (c *crowd) apply(cmd fsm.Command) (*fsm.State, error) {
	raw, err := fsm.Encode(fsm.Entry{V: fsm.Version, ID: fmt.Sprintf("id-%d", c.index), At: c.now, By: "bench", Cmd: cmd})
	if err != nil {
		return nil, err
	}
	return c.fold(raw)
}

func (c *crowd) fold(raw []byte) (*fsm.State, error) {
	e, err := fsm.Decode(raw)
	if err != nil {
		return nil, err
	}
	s, _, err := fsm.Apply(c.s, c.index+1, e, raw)
	return s, err
}

// measure applies to the same State again and again, so that it does not grow.
func (c *crowd) measure(length time.Duration, next func(*crowd, int) fsm.Command) (float64, error) {
	const kinds = 64
	raws := make([][]byte, kinds)
	for i := range raws {
		var err error
		if raws[i], err = fsm.Encode(fsm.Entry{V: fsm.Version, ID: fmt.Sprintf("new-%d", i), At: c.now, By: "bench", Cmd: next(c, i)}); err != nil {
			return 0, err
		}
	}
	runtime.GC()
	n, begun := 0, cpuTime()
	for {
		if _, err := c.fold(raws[n%kinds]); err != nil {
			return 0, err
		}
		n++
		if spent := cpuTime() - begun; spent >= length {
			return float64(spent.Microseconds()) / float64(n), nil
		}
	}
}

func reportOf(c *crowd, i int) fsm.Command {
	k := i * 7919 % c.n
	return fsm.ReportRun{Jail: jailName(k/perWish, k%perWish), Host: hostName(k % perWish % hosts), Seq: 1, Phase: fsm.Running,
		Health: fsm.HealthHealthy, Reason: fmt.Sprintf("check %d took 12 ms", i)}
}

func wishOf(_ *crowd, i int) fsm.Command {
	return fsm.ApplyWish{Wish: wish(fmt.Sprintf("new%d", i), fmt.Sprintf("172.16.%d.0/24", i), 100)}
}

// cpuTime of this process: unlike the clock it does not count what others do.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
