//go:build linux

package main

import (
	"context"
	"time"

	"github.com/rexcarcer/rexcarcer/test/bench/live"
	"github.com/rexcarcer/rexcarcer/test/bench/report"
)

// sixteen is how many start at once.
const sixteen = 16

func running(t live.Times) bool { return !t.Running.IsZero() }
func removed(t live.Times) bool { return !t.Removed.IsZero() }

// oneByOne starts n jails, each once the one before runs, and returns the
// median time in ms from Placed to Running. The first is not counted.
func oneByOne(ctx context.Context, d *live.Daemon, n int) (float64, error) {
	var out []float64
	for i := range n + 1 {
		at, err := apply(ctx, d, i+1)
		if err != nil {
			return 0, err
		}
		jails, err := at.story.Wait(ctx, 1, running)
		at.end()
		if err != nil {
			return 0, err
		}
		if i > 0 {
			out = append(out, float64(jails[0].Running.Sub(jails[0].Placed))/1e6)
		}
	}
	return report.Median(out), destroy(ctx, d, n+1)
}

// bursts starts 16 jails at once, and takes them down when all of them run.
// It returns jails a second from the first wish to the end of the last jail.
func bursts(ctx context.Context, d *live.Daemon, times int) (float64, error) {
	var took time.Duration
	for range times {
		begun := time.Now()
		at, err := apply(ctx, d, sixteen)
		if err != nil {
			return 0, err
		}
		_, err = at.story.Wait(ctx, sixteen, running)
		at.end()
		if err == nil {
			err = destroy(ctx, d, sixteen)
		}
		if err != nil {
			return 0, err
		}
		took += time.Since(begun)
	}
	return float64(times*sixteen) / took.Seconds(), nil
}

type applied struct {
	story *live.Story
	end   context.CancelFunc
}

// apply makes the bench's wish one of n jails.
func apply(ctx context.Context, d *live.Daemon, n int) (applied, error) {
	w, err := d.Wish("bench", n, true)
	if err != nil {
		return applied{}, err
	}
	done, err := d.Client.ApplyWish(ctx, w, 0)
	if err != nil {
		return applied{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	return applied{d.Follow(ctx, done.Index-1), cancel}, nil
}

func destroy(ctx context.Context, d *live.Daemon, n int) error {
	done, err := d.Client.DestroyWish(ctx, "bench", 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err = d.Follow(ctx, done.Index-1).Wait(ctx, n, removed)
	return err
}
