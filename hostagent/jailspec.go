package hostagent

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// startOf is what the image of want's Run says of its processes: what its
// file says, and what that leaves open and its base says. The store of a
// simulated runtime holds nothing, so State has to do.
func (a *Agent) startOf(want Want) (Start, error) {
	if want.Run != nil && !a.features.Simulated {
		img, err := a.c.Store.Image(want.Run.Image)
		if err == nil {
			return Start{Env: img.Env, Command: img.Command, User: img.User, WorkDir: img.WorkDir}, nil
		}
		if !errors.Is(err, zfssync.ErrNotFound) { // gone below a jail that runs: what State says has to do
			return Start{}, fmt.Errorf("image of jail %s: %w", want.Run.Jail, err)
		}
	}
	if want.Image == nil {
		return Start{}, nil
	}
	s := Start{Command: want.Image.Command}
	for _, v := range want.Image.Env {
		s.Env = append(s.Env, v.Name+"="+v.Value)
	}
	return s, nil
}

// jailSpec turns a wish into what the driver takes.
func (a *Agent) jailSpec(want Want, root, netns string, mounts []jail.Mount, ids zfssync.IDMap) (jail.Spec, error) {
	j := want.Jail
	argv, user := j.Spec.Command, j.Spec.User
	if len(argv) == 0 {
		argv = want.Start.Command
	}
	if user == "" && !wantsSSH(want) { // sshd has to begin as root
		user = want.Start.User
	}
	if argv = sshArgv(want, argv); len(argv) == 0 {
		return jail.Spec{}, fmt.Errorf("jail %s has no command: set command in the jail or CMD in the image's file", j.Spec.Name)
	}
	return jail.Spec{
		ID: jailID(j.UUID), Name: j.Spec.Name, UUID: j.UUID, Hostname: hostnameOf(j), Seq: want.Run.Seq,
		Root: root, Argv: argv, Env: environ(want), User: user, WorkDir: cmp.Or(j.Spec.WorkDir, want.Start.WorkDir),
		NetNS: netns, Mounts: mounts, Limits: limitsOf(j), StopTimeout: j.Spec.Stop,
		IDMap: jail.IDMap{HostBase: ids.HostBase, Size: ids.Size}, LogPath: filepath.Clean(a.logPath(j.UUID)),
	}, nil
}

func limitsOf(j *fsm.Jail) jail.Limits {
	l := j.Spec.Limits
	return jail.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Processes: l.Processes, OpenFiles: l.OpenFiles, CPUSet: l.CPUSet}
}
