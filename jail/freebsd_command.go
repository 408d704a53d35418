package jail

import (
	"fmt"
	"path"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// command is how argv is run in jail j. Root goes in by jexec(8). Anybody else attaches by himself: jexec takes a name but no
// number and no group, and puts the PATH of login.conf(5) in the place of the jail's. The environment is all that a command
// gets of ours.
func command(root string, j *kernelJail, user account, dir string, argv, env []string, feats *bsdFeatures) (run.Cmd, error) {
	// Mounts of a jail are mounts of the host here: its root shows what it sees.
	found, err := lookCommand(root, argv[0], dir, env, nil)
	if err != nil {
		return run.Cmd{}, err
	}
	c := run.Cmd{Env: env, OnlyEnv: true}
	if dir = path.Clean("/" + dir); dir != "/" {
		if info, err := statIn(root, dir); err != nil || !info.IsDir() {
			return run.Cmd{}, fmt.Errorf("%w: the jail has no working directory %s: make it in the image", ErrFinal, dir)
		}
	}
	if user.uid == 0 && user.gid == 0 { // whatever groups root is in beside
		c.Argv = jexecArgv(j.name, dir, argv, feats)
		return c, nil
	}
	c.Argv, c.Dir = append([]string{found}, argv[1:]...), dir
	c.Inside = &run.Inside{JID: j.jid, UID: user.uid, GID: user.gid, Groups: user.groups}
	return c, nil
}

// jexecArgv builds the command line of jexec(8) for root. -l is not used: it would throw away the jail's variables.
func jexecArgv(name, dir string, argv []string, feats *bsdFeatures) []string {
	args := []string{jexecPath}
	if dir != "/" && feats.jexecDir {
		args = append(args, "-d", dir)
	}
	args = append(args, name)
	if dir != "/" && !feats.jexecDir {
		args = append(args, "/bin/sh", "-c", `cd "$1" || exit 1; shift; exec "$@"`, "sh", dir)
	}
	return append(args, argv...)
}
