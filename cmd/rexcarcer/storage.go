package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// Where images, roots and volumes are stored: chosen at the first start, and then kept with the data.
const (
	storageAuto    = "auto"
	storageOverlay = "overlay"
	zfsPrefix      = "zfs:" // and POOL/DATASET
)

// checkStorage refuses what is no choice.
func checkStorage(o options) error {
	ds, zfs := strings.CutPrefix(o.Storage, zfsPrefix)
	switch {
	case zfs && o.temp:
		return errors.New("storage zfs needs a -data-dir: the dataset stays, and a temporary directory would not know it again")
	case zfs:
		return zfssync.CheckDataset(ds)
	case o.Storage != storageAuto && o.Storage != storageOverlay:
		return fmt.Errorf("storage %q: want auto, overlay or zfs:POOL/DATASET", o.Storage)
	}
	return nil
}

// openStore opens the storage that was chosen, now or at the first start.
func openStore(o options, c zfssync.Config) (zfssync.Store, error) {
	if err := checkStorage(o); err != nil {
		return nil, err
	}
	choice, err := chosenStorage(o)
	if err != nil {
		return nil, err
	}
	if ds, ok := strings.CutPrefix(choice, zfsPrefix); ok {
		c.Dataset = ds
		return zfssync.OpenZFS(context.Background(), c)
	}
	if o.Runtime == "jail" {
		return zfssync.OpenPlain(c)
	}
	return zfssync.OpenOverlay(c)
}

// chosenStorage is what the data directory was made with, or else what is asked for, which it then remembers.
func chosenStorage(o options) (string, error) {
	file := filepath.Join(o.DataDir, "storage.choice")
	b, err := os.ReadFile(file)
	was := strings.TrimSpace(string(b))
	switch {
	case err == nil && (o.Storage == storageAuto || o.Storage == was):
		return was, nil
	case err == nil:
		return "", fmt.Errorf("the data in %s was made with storage %s, not %s: leave the option out, or choose another -data-dir", o.DataDir, was, o.Storage)
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read which storage was chosen: %w", err)
	}
	choice := o.Storage
	if choice == storageAuto {
		choice = storageOverlay
	}
	if _, err := os.Stat(filepath.Join(o.DataDir, "storage", "layers")); err == nil && choice != storageOverlay {
		return "", fmt.Errorf("the data in %s was made with storage overlay, not %s: leave the option out, or choose another -data-dir", o.DataDir, o.Storage)
	}
	if err := os.MkdirAll(o.DataDir, 0o711); err != nil {
		return "", fmt.Errorf("remember the storage: %w", err)
	}
	if err := renameio.WriteFile(file, []byte(choice+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("remember the storage: %w", err)
	}
	return choice, nil
}
