package hostagent

import (
	"fmt"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// jailSpec turns a wish into what the driver takes.
func (a *Agent) jailSpec(want Want, root, netns string, mounts []jail.Mount, ids zfssync.IDMap) (jail.Spec, error) {
	j := want.Jail
	argv := j.Spec.Command
	if len(argv) == 0 && want.Image != nil {
		argv = want.Image.Command
	}
	if argv = sshArgv(want, argv); len(argv) == 0 {
		return jail.Spec{}, fmt.Errorf("jail %s has no command: set command in the jail or CMD in the image's file", j.Spec.Name)
	}
	return jail.Spec{
		ID: jailID(j.UUID), Name: j.Spec.Name, UUID: j.UUID, Hostname: hostnameOf(j), Seq: want.Run.Seq,
		Root: root, Argv: argv, Env: environ(want), User: j.Spec.User, WorkDir: j.Spec.WorkDir,
		NetNS: netns, Mounts: mounts, Limits: limitsOf(j), StopTimeout: j.Spec.Stop,
		IDMap: jail.IDMap{HostBase: ids.HostBase, Size: ids.Size}, LogPath: filepath.Clean(a.logPath(j.UUID)),
	}, nil
}

func limitsOf(j *fsm.Jail) jail.Limits {
	l := j.Spec.Limits
	return jail.Limits{MemoryBytes: l.MemoryBytes, CPU: l.CPU, Processes: l.Processes, OpenFiles: l.OpenFiles, CPUSet: l.CPUSet}
}
