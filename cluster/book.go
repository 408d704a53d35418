package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/raft"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// The book of addresses is kept beside the log, because raft applies the
// entries that hold them only when a leader says which are committed: a member
// that comes back under another address must find the others before that.

func bookPath(dir string) string { return filepath.Join(dir, "peers.json") }

func readBook(dir string) (map[fsm.HostID]string, error) {
	book := map[fsm.HostID]string{}
	b, err := os.ReadFile(bookPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return book, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &book)
	}
	if err != nil {
		return nil, fmt.Errorf("read the addresses of the members: %w: remove %s, it is written anew", err, bookPath(dir))
	}
	return book, nil
}

// WriteBook leaves the addresses of members, HOST:PORT by id, for a Node that
// is opened in dir for the first time.
func WriteBook(dir string, book map[fsm.HostID]string) error {
	b, err := json.Marshal(book)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(bookPath(dir), b, 0o600); err != nil {
		return fmt.Errorf("write the addresses of the members: %w", err)
	}
	return nil
}

// learn takes over addresses from raft's configuration and the State.
func (n *Node) learn(c raft.Configuration) {
	s := n.State()
	now := map[fsm.HostID]string{}
	for _, member := range c.Servers {
		if addr := string(member.Address); strings.Contains(addr, ":") { // a group of one has none
			now[fsm.HostID(member.ID)] = addr
		}
	}
	for id, h := range s.Hosts.All {
		if h.Peer != "" {
			now[fsm.HostID(id)] = h.Peer
		}
	}
	n.members.mu.Lock()
	n.members.config = c
	changed := len(now) > 0 && !maps.Equal(now, n.members.book)
	if changed {
		n.members.book = now
	}
	n.members.mu.Unlock()
	if !changed || n.cfg.alone() {
		return
	}
	if err := WriteBook(n.cfg.Dir, now); err != nil {
		n.cfg.Log.Warn("addresses are not kept", "err", err)
	}
}
