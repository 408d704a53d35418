package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// list is how long lists of jails take, from the request until the last row is
// decoded.
type list struct {
	name        string
	median, p99 float64 // ms
}

// lists asks as rexctl does: for all jails, and for those of one wish.
func lists(ctx context.Context, socket string) ([]list, error) {
	c, err := api.NewClient(api.Options{Addr: "unix://" + socket})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var out []list
	for _, kind := range []struct {
		name   string
		filter api.JailFilter
		times  int
	}{
		{"jail ls of one wish (1,000 jails), p99", api.JailFilter{Wish: wishName(7)}, 200},
		{"jail ls of all, p99", api.JailFilter{}, 20},
	} {
		var took []float64
		for range kind.times {
			begun := time.Now()
			rows, err := c.Jails(ctx, kind.filter)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kind.name, err)
			}
			if len(rows) == 0 {
				return nil, fmt.Errorf("%s: no rows", kind.name)
			}
			took = append(took, float64(time.Since(begun).Microseconds())/1000)
		}
		slices.Sort(took)
		out = append(out, list{kind.name, took[len(took)/2], took[(len(took)*99+99)/100-1]})
	}
	return out, nil
}

// memory is what a process holds, now and at most, in MiB.
func memory(pid int) (now, most float64, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		for name, to := range map[string]*float64{"VmRSS:": &now, "VmHWM:": &most} {
			if rest, ok := strings.CutPrefix(line, name); ok {
				var kib float64
				if _, err := fmt.Sscan(rest, &kib); err != nil {
					return 0, 0, err
				}
				*to = kib / 1024
			}
		}
	}
	return now, most, nil
}

// born is when this process began to run Go.
var born = time.Now()
