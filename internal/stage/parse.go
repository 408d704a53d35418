package stage

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/spec"
)

// Jails reads a group from one line, its name and then attributes:
//
//	web count=3 image=web cpu=0.5 mem=256M spread=rack depends=db,queue
//
// The attributes are those of the switch in attribute.
func Jails(line string) ([]spec.Jail, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil, fmt.Errorf("stage: a jail needs a name")
	}
	j := spec.Jail{Group: words[0], Name: words[0], Image: words[0], Replicas: 1, NICs: []spec.NIC{{Network: "net"}}}
	count := 0
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		if k == "count" {
			n, err := strconv.Atoi(v)
			if err != nil {
				return nil, fmt.Errorf("stage: %s: %w", w, err)
			}
			count = n
			continue
		}
		if err := attribute(&j, k, v); err != nil {
			return nil, fmt.Errorf("stage: jail %s: %s: %w", j.Group, w, err)
		}
	}
	if count == 0 {
		return []spec.Jail{j}, nil
	}
	all := make([]spec.Jail, count)
	for i := range all {
		all[i] = j
		all[i].Name, all[i].Index, all[i].Replicas = fmt.Sprintf("%s-%d", j.Group, i+1), i+1, count
	}
	return all, nil
}

func attribute(j *spec.Jail, k, v string) (err error) {
	switch k {
	case "image":
		j.Image = v
	case "net":
		j.NICs = []spec.NIC{{Network: v}}
	case "cpu":
		j.Limits.CPU, err = strconv.ParseFloat(v, 64)
	case "mem":
		j.Limits.MemoryBytes, err = Bytes(v)
	case "env":
		j.Env = append(j.Env, spec.EnvVar{Name: "E", Value: v})
	case "service":
		name, port, _ := strings.Cut(v, ":")
		var n uint64
		n, err = strconv.ParseUint(port, 10, 16)
		j.Services = append(j.Services, spec.Service{Name: name, Port: uint16(n)})
	case "volume":
		j.Volumes = append(j.Volumes, spec.Volume{Name: v, Path: "/" + v})
	case "depends":
		j.Depends = strings.Split(v, ",")
	case "runtime":
		j.Runtime = v
	case "os":
		j.OS = v
	default:
		return policy(j, k, v)
	}
	return err
}

func policy(j *spec.Jail, k, v string) (err error) {
	switch k {
	case "restart":
		j.Restart.Policy = v
	case "backoff":
		j.Restart.Backoff, err = time.ParseDuration(v)
	case "attempts":
		j.Restart.Attempts, err = strconv.Atoi(v)
	case "parallel":
		j.Update.MaxParallel, err = strconv.Atoi(v)
	case "min_healthy":
		j.Update.MinHealthy, err = time.ParseDuration(v)
	case "spread":
		j.Place.Spread = v
	case "constraint":
		j.Place.Constraint = append(j.Place.Constraint, strings.ReplaceAll(v, "_", " "))
	case "affinity":
		j.Place.Affinity = append(j.Place.Affinity, strings.ReplaceAll(v, "_", " "))
	case "binpack":
		j.Place.BinPack = true
	case "priority":
		j.Place.Priority, err = strconv.Atoi(v)
	case "nofence":
		j.NoFence = true
	case "pin":
		j.Place.Host = v
	default:
		return fmt.Errorf("there is no such attribute")
	}
	return err
}

// ParseWish reads a wish, one group a line. Blank lines are skipped.
func ParseWish(name, text string) (spec.Wish, error) {
	var jails []spec.Jail
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		js, err := Jails(line)
		if err != nil {
			return spec.Wish{}, err
		}
		jails = append(jails, js...)
	}
	slices.SortStableFunc(jails, func(a, b spec.Jail) int { return strings.Compare(a.Group, b.Group) })
	return Wish(name, jails), nil
}

// Bytes reads 256M, 4G or a plain number.
func Bytes(v string) (int64, error) {
	shift := 0
	if n := len(v) - 1; n > 0 {
		if i := strings.IndexByte("KMGT", v[n]); i >= 0 {
			shift, v = 10*(i+1), v[:n]
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	return n << shift, err
}

// network number n has a /16 of its own.
func network(name string, n int) spec.Network {
	return spec.Network{Name: name, Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(60 + n), 0, 0}), 16), NAT: true}
}
