package zfssync

import (
	"log/slog"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Config says where a store lives and what it may use.
type Config struct {
	Dir    string       // data directory of its own, absolute; made (0711) when missing
	Mirror string       // of debian:SUITE bases; "" is the host's own apt source, else Debian's
	Runner run.Runner   // starts debootstrap, zfs(8)
	Hide   []string     // directories that a "host:/" base must not show, besides Dir: the daemon's keys and log
	Log    *slog.Logger // nil discards
	Limits Limits       // of tarballs; zero fields get DefaultLimits

	Dataset  string // of OpenZFS: "POOL/NAME", the store's own
	Instance string // of OpenZFS: who owns Dataset, the same at every start
}

// Limits of an archive that becomes a base or is a build context.
type Limits struct {
	Entries int64 // number of members
	Bytes   int64 // unpacked size of all members together
	Ratio   int64 // unpacked bytes per packed byte, judged after the first 64 MiB
}

// DefaultLimits hold for every Config that names none: enough for a whole distribution, fatal for a bomb.
var DefaultLimits = Limits{Entries: 2_000_000, Bytes: 64 << 30, Ratio: 250}

func (l Limits) withDefaults() Limits {
	if l.Entries == 0 {
		l.Entries = DefaultLimits.Entries
	}
	if l.Bytes == 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	if l.Ratio == 0 {
		l.Ratio = DefaultLimits.Ratio
	}
	return l
}
