package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// checkBytes bounds the size of a log that is walked page by page at start.
const checkBytes = 256 << 20

// checkLog opens raft.db read-only and walks it, so that a cut, flipped or
// zeroed file ends in one line instead of a panic inside raft.
func checkLog(path string) (err error) {
	// A damaged page sends bbolt to addresses outside of its mapping.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged(path, fmt.Errorf("%v", p))
		}
	}()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check log: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: 3 * time.Second, PreLoadFreelist: false})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return fmt.Errorf("open %s: another rexcarcer uses this data directory; stop it or choose another -data-dir", path)
	}
	if err != nil {
		return damaged(path, err)
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return damaged(path, fmt.Errorf("cut short: %d of %d bytes", info.Size(), tx.Size()))
		}
		if info.Size() > checkBytes {
			return nil
		}
		return checkEntries(tx, path)
	})
}

// checkEntries wants the log without holes: raft panics on one.
func checkEntries(tx *bbolt.Tx, path string) error {
	logs := tx.Bucket([]byte("logs"))
	if logs == nil {
		return nil
	}
	var last uint64
	return logs.ForEach(func(k, v []byte) error {
		if len(k) != 8 || len(v) == 0 {
			return damaged(path, fmt.Errorf("entry after %d is unreadable", last))
		}
		index := binary.BigEndian.Uint64(k)
		if last != 0 && index != last+1 {
			return damaged(path, fmt.Errorf("entries %d to %d are missing", last+1, index-1))
		}
		last = index
		return nil
	})
}

func damaged(path string, cause error) error {
	return fmt.Errorf("%s is damaged (%w): restore it from a backup, or wipe the data directory and join as a new host", path, cause)
}
