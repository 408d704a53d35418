package hostagent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// Where START_SSH has its files in a jail.
const (
	sshKeysFile   = "etc/ssh/rc/authorized_keys"
	sshConfigFile = "etc/ssh/rc/sshd_config"
	sshStartFile  = "etc/rc.d/start_ssh"
)

// sshConfig lets in who has a key, and nobody by password. It says all that
// matters itself, so that it means the same on every system.
const sshConfig = `# Written at each start of the jail.
Port 22
HostKey /etc/ssh/rc/host_key
AuthorizedKeysFile /etc/ssh/rc/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile /var/run/rc_sshd.pid
Subsystem sftp internal-sftp
`

// sshStart is the first process of a jail with START_SSH: it starts sshd and
// becomes the jail's command, or sshd itself where there is none. A host key
// is made once for each root, so that no two jails of one image share theirs.
const sshStart = `#!/bin/sh
# PROVIDE: start_ssh
dir=/etc/ssh/rc
if ! [ -s $dir/host_key ]; then
	rm -f $dir/host_key.new $dir/host_key.new.pub
	ssh-keygen -q -t ed25519 -N '' -C '' -f $dir/host_key.new || exit
	mv $dir/host_key.new.pub $dir/host_key.pub && mv $dir/host_key.new $dir/host_key || exit
fi
if [ -d /run ]; then mkdir -p -m 755 /run/sshd; fi
if [ $# -eq 0 ]; then exec /usr/sbin/sshd -D -e -f $dir/sshd_config; fi
/usr/sbin/sshd -f $dir/sshd_config || exit
exec "$@"
`

// wantsSSH says whether the jail shall have an sshd.
func wantsSSH(w Want) bool { return w.Image != nil && w.Image.SSH }

// authorizedKeys are the keys of all wishes: a user of the cluster.
func authorizedKeys(s *fsm.State) string {
	var keys []string
	for _, w := range s.Wishes.All {
		keys = append(keys, w.SSHKeys...)
	}
	slices.Sort(keys)
	var b strings.Builder
	b.WriteString("# ssh_keys of the cluster's files; changed here without a restart\n")
	for _, k := range slices.Compact(keys) {
		b.WriteString(k + "\n")
	}
	return b.String()
}

// sshFiles are what START_SSH needs beneath the root.
func sshFiles(s *fsm.State, want Want) []file {
	if !wantsSSH(want) {
		return nil
	}
	return []file{{sshKeysFile, authorizedKeys(s), 0o644}, {sshConfigFile, sshConfig, 0o644}, {sshStartFile, sshStart, 0o755}}
}

// checkSSH says what is missing for START_SSH.
func checkSSH(r *os.Root, want Want) error {
	if !wantsSSH(want) {
		return nil
	}
	if u := want.Jail.Spec.User; u != "" && u != "root" && u != "0" && u != "0:0" {
		return fmt.Errorf("START_SSH is for a jail that begins as root, not as %s: leave user out, and change the user in the command", u)
	}
	if _, err := r.Stat("usr/sbin/sshd"); errors.Is(err, fs.ErrNotExist) {
		return errors.New("START_SSH: the image has no /usr/sbin/sshd: add RUN apt-get update && apt-get install -y openssh-server")
	}
	return nil
}

// sshArgv puts sshd before the jail's command, which may be empty.
func sshArgv(want Want, argv []string) []string {
	if !wantsSSH(want) {
		return argv
	}
	return append([]string{"/bin/sh", "/" + sshStartFile}, argv...)
}

// lookKeys puts changed keys into the running jail.
func (w *worker) lookKeys(ctx context.Context, want Want) error {
	if !wantsSSH(want) || w.a.features.Simulated {
		return nil
	}
	text := authorizedKeys(w.a.c.Cluster.State())
	if text == w.sshKeys {
		return nil
	}
	ids, err := w.ids(ctx)
	if err != nil {
		return err
	}
	root, err := w.root(ctx, want, ids) // already mounted: returns its path
	if err != nil {
		return err
	}
	err = w.a.withRoot(root, ids, func(r *os.Root) error { return putFile(r, file{sshKeysFile, text, 0o644}) })
	if err != nil {
		return fmt.Errorf("ssh keys of jail %s: %w", w.row.Name, err)
	}
	w.sshKeys = text
	return nil
}
