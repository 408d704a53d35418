package hostagent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
)

// JailSocketPath is where a jail asks about itself in one network: the same
// name as the network's own socket, in a directory of that jail alone (case
// 51), which is mounted at the contract's place in the jail.
func JailSocketPath(runDir, uuid, network string) string {
	return filepath.Join(runDir, "jails", shortID(uuid), network, network+".seq_packet") // names of sockets are short: sun_path has 108 bytes
}

// MakeJailSocketDir makes the directory of a socket. Whatever its mode, the
// listener asks the kernel who connects.
func MakeJailSocketDir(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return fmt.Errorf("make the directory of a jail's socket: %w", err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o755); err != nil { // whatever our umask is: the jail may look
		return fmt.Errorf("make the directory of a jail's socket: %w", err)
	}
	return nil
}

// socketMounts are the directories with the jail's sockets, if it may ask.
func (a *Agent) socketMounts(ctx context.Context, want Want) ([]jail.Mount, error) {
	if !want.Jail.Spec.Socket || a.features.Simulated {
		return nil, nil
	}
	var out []jail.Mount
	seen := map[string]bool{}
	for _, network := range networksOf(want.Jail) {
		if seen[network] {
			continue
		}
		seen[network] = true
		path := JailSocketPath(a.c.RunDir, want.Jail.UUID, network)
		if err := MakeJailSocketDir(path); err != nil {
			return nil, err
		}
		a.awaitSocket(ctx, path)
		out = append(out, jail.Mount{Source: filepath.Dir(path), Target: "/var/run/rexcarcer/networks/" + network, ReadOnly: true})
	}
	return out, nil
}

// awaitSocket lets the listener come before the jail's first process. A jail
// whose listener is late starts all the same, and asks again.
func (a *Agent) awaitSocket(ctx context.Context, path string) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeSocket || !sleep(ctx, 2*time.Millisecond) {
			return
		}
	}
}

// OwnsUID says whether a process of uid, as this host counts, can be of the
// jail. Without user namespaces every jail's root is the host's, and the
// directory alone keeps others out.
func (a *Agent) OwnsUID(ctx context.Context, j *fsm.Jail, uid uint32) (bool, error) {
	if !a.idmap {
		return true, nil
	}
	first, err := a.db.idRange(ctx, j.UUID)
	return err == nil && uid >= first && uid-first < idsPerJail, err
}

// dropSockets removes what socketMounts made for a jail; "" is all of them.
func (a *Agent) dropSockets(uuid string) error {
	dir := filepath.Join(a.c.RunDir, "jails")
	if uuid != "" {
		dir = filepath.Join(dir, shortID(uuid))
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the directories of sockets: %w", err)
	}
	return nil
}
