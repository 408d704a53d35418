//go:build linux

package main

import (
	"context"
	"errors"

	"github.com/rexcarcer/rexcarcer/test/bench/report"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

func openZFS(context.Context, zfssync.Config, string) (zfssync.Store, error) {
	return nil, errors.ErrUnsupported
}

func zfs(context.Context, config, string) ([]report.Row, error) { return nil, nil }
