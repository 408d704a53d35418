package hostagent

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// asUser runs do with the file-system identity of uid (setfsuid(2)): an
// id-mapped mount refuses to create files for ids that it does not map, such
// as the host's root. uid 0 changes nothing.
func asUser(uid uint32, do func() error) error {
	if uid == 0 {
		return do()
	}
	runtime.LockOSThread()
	if err := setFSIDs(int(uid)); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err := do()
	if back := setFSIDs(0); back != nil {
		// The thread stays locked and dies with this goroutine, so that no
		// other one runs with a wrong identity.
		panic(back)
	}
	runtime.UnlockOSThread()
	return err
}

func setFSIDs(id int) error {
	// The calls return the old id and never fail; asking again tells. The
	// group goes first, while the capability to change it is still there.
	if id != 0 {
		_, _ = unix.SetfsgidRetGid(id)
	}
	_, _ = unix.SetfsuidRetUid(id)
	if id == 0 {
		_, _ = unix.SetfsgidRetGid(id)
	}
	gid, _ := unix.SetfsgidRetGid(-1)
	uid, _ := unix.SetfsuidRetUid(-1)
	if uid != id || gid != id {
		return fmt.Errorf("take the file-system identity of user %d: still %d:%d", id, uid, gid)
	}
	return nil
}

// freeBytes is what a user may still write where dir is.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
