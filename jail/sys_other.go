//go:build !linux

package jail

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"
)

var errLinuxOnly = errors.New("the OCI runtime driver runs on linux only")

// BecomeReaper does nothing here: procctl(2) reaping is not needed, jail(8) keeps its own books.
func BecomeReaper() error { return nil }

// ReapOrphans has nothing to do here; it returns when ctx ends.
func ReapOrphans(ctx context.Context, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

type process struct{ pid int }

func openProcess(int) (*process, error)               { return nil, errLinuxOnly }
func (p *process) close() error                       { return nil }
func (p *process) signal(int) error                   { return errLinuxOnly }
func (p *process) wait(context.Context) (Exit, error) { return Exit{}, errLinuxOnly }
func exitInfoSupported() bool                         { return false }
func seccompFor([]string) (json.RawMessage, error)    { return nil, errLinuxOnly }
func hardOpenFiles() uint64                           { return 1024 }
func tryLock(*os.File) (bool, error)                  { return false, errLinuxOnly }
func resizeTerminalOf(int, WinSize) error             { return errLinuxOnly }
func isCgroup2(string) bool                           { return false }

func readIn(root, name string, limit int64) ([]byte, error) { return readBelow(root, name, limit) }

func statIn(root, name string) (os.FileInfo, error) { return statBelow(root, name) }
