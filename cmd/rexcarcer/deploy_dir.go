package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

const (
	// deployGone is how often a file has to be missing before it is gone: an
	// editor may take it away for a moment.
	deployGone = 3
	maxDeploy  = 1 << 20 // bytes of one file
)

// deployMemory is what outlives the daemon.
type deployMemory struct {
	Dir   string              `json:"dir"` // device and inode
	Files map[string]deployed `json:"files"`
}

// scan reads the directory. A file that has changed since the last scan is
// taken as it was: it may be half written.
func (p *deployer) scan() (map[string]found, error) {
	var st unix.Stat_t
	if err := unix.Stat(p.dir, &st); err != nil {
		return nil, fmt.Errorf("deployment directory %s: %w", p.dir, err)
	}
	if st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("deployment directory %s: others than its owner may write there (chmod go-w)", p.dir)
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, fmt.Errorf("deployment directory: %w", err)
	}
	files, now := map[string]found{}, map[string]string{}
	for _, e := range entries {
		if !isDeployable(e.Name()) {
			continue
		}
		f, stamp, err := p.read(e.Name())
		if err != nil {
			continue // gone again, or no file: as if it were not there
		}
		now[e.Name()] = stamp
		if p.last[e.Name()] == stamp {
			files[e.Name()] = f
		} else if d, known := p.memory.Files[e.Name()]; known {
			files[e.Name()] = found{sum: d.Sum, jails: f.jails}
		}
	}
	p.last = now
	id := fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	if id != p.memory.Dir && len(now) == 0 && len(p.memory.Files) > 0 {
		return nil, fmt.Errorf("deployment directory %s is empty and another one than before: is something not mounted?", p.dir)
	}
	p.memory.Dir = id
	for name, d := range p.memory.Files {
		if _, there := now[name]; there {
			delete(p.missing, name)
		} else if p.missing[name]++; p.missing[name] < deployGone {
			files[name] = found{sum: d.Sum}
		}
	}
	return files, nil
}

// read reads one file, if it is one: a pipe would never end.
func (p *deployer) read(name string) (found, string, error) {
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return found{}, "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return found{}, "", err
	}
	if !info.Mode().IsRegular() {
		return found{}, "", fmt.Errorf("%s is no file", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDeploy))
	if err != nil {
		return found{}, "", err
	}
	sum := sha256.Sum256(text)
	return found{hex.EncodeToString(sum[:]), hasJails(name, text)}, fmt.Sprint(info.Size(), info.ModTime().UnixNano()), nil
}

func (p *deployer) path() string { return filepath.Join(p.d.o.DataDir, "deploy.json") }

// recall reads what a daemon before this one did.
func (p *deployer) recall() error {
	p.memory = deployMemory{Files: map[string]deployed{}}
	b, err := os.ReadFile(p.path())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &p.memory)
	}
	if err != nil {
		return fmt.Errorf("recall the deployment directory from %s: %w: remove it to begin anew", p.path(), err)
	}
	if p.memory.Files == nil {
		p.memory.Files = map[string]deployed{}
	}
	return nil
}

func (p *deployer) remember(name string, d deployed) error {
	p.memory.Files[name] = d
	return p.save()
}

func (p *deployer) forget(name string) error {
	delete(p.memory.Files, name)
	return p.save()
}

func (p *deployer) save() error {
	b, err := json.MarshalIndent(p.memory, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(p.path(), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("remember the deployment directory: %w", err)
	}
	return nil
}
