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
	wish, err := inTurn("jail ls of one wish (1,000 jails), p99", 200, func() (int, error) {
		rows, err := c.Jails(ctx, api.JailFilter{Wish: wishName(7)})
		return len(rows), err
	})
	if err != nil {
		return nil, err
	}
	whole, err := inTurn("jail ls of all at once, p99", 20, func() (int, error) {
		rows, err := c.Jails(ctx, api.JailFilter{})
		return len(rows), err
	})
	if err != nil {
		return nil, err
	}
	pages, err := everyPage(ctx, c, 3)
	return []list{wish, pages, whole}, err
}

func inTurn(name string, times int, ask func() (rows int, err error)) (list, error) {
	var took []float64
	for range times {
		begun := time.Now()
		n, err := ask()
		if err != nil {
			return list{}, fmt.Errorf("%s: %w", name, err)
		}
		if n == 0 {
			return list{}, fmt.Errorf("%s: no rows", name)
		}
		took = append(took, float64(time.Since(begun).Microseconds())/1000)
	}
	return listOf(name, took), nil
}

func listOf(name string, took []float64) list {
	slices.Sort(took)
	return list{name, took[len(took)/2], took[(len(took)*99+99)/100-1]}
}

// everyPage walks along all jails as rexctl ps does, from the first screen on, so
// many times.
func everyPage(ctx context.Context, c *api.Client, times int) (list, error) {
	var took []float64
	for range times {
		begun := time.Now()
		for _, err := range c.JailPages(ctx, api.JailFilter{}, 1000) {
			if err != nil {
				return list{}, fmt.Errorf("pages: %w", err)
			}
			took = append(took, float64(time.Since(begun).Microseconds())/1000)
			begun = time.Now()
		}
	}
	return listOf("a page of jail ls of all (1,000, then 5,000 jails), p99", took), nil
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
