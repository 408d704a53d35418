package pki

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// JailFiles is what a jail finds in /etc/ssl/rc.
type JailFiles struct {
	KeyPEM   []byte // host.key, 0600; nil leaves the key as it is (a renewal with the same key)
	ChainPEM []byte // host.crt, 0644; the CA that it leads to is appended, so that the file holds the whole chain
	CAPEM    []byte // cluster.crt, 0644: all that the cluster trusts
	UID, GID int    // who root of the jail is on this host: 0, or the base of its user namespace
}

// WriteJailFiles puts f beneath a jail's root: what is there is replaced by an atomic rename,
// the key before the certificate. Files that are right already are not
// touched. Nothing is followed out of root, and a link or file in the place of
// a directory is replaced by a directory: the jail's root user may have put it
// there. There is no fsync: the agent writes the files again at each start.
func WriteJailFiles(root *os.Root, f JailFiles) error {
	if len(f.ChainPEM) == 0 || len(f.CAPEM) == 0 {
		return errors.New("write a jail's certificate: certificate or CA is missing")
	}
	dir, err := openJailDir(root, f.UID, f.GID)
	if err != nil {
		return fmt.Errorf("write a jail's certificate: %w", err)
	}
	defer dir.Close() // read-only handle: nothing to lose
	chain, err := WholeChain(f.ChainPEM, f.CAPEM)
	if err != nil {
		return fmt.Errorf("write a jail's certificate: %w", err)
	}
	files := []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{"cluster.crt", f.CAPEM, 0o644},
		{"host.key", f.KeyPEM, 0o600},
		{"host.crt", chain, 0o644},
	}
	for _, file := range files {
		if file.data == nil {
			continue
		}
		if err := replaceFile(dir, file.name, file.data, file.mode, f.UID, f.GID); err != nil {
			return fmt.Errorf("write a jail's /etc/ssl/rc/%s: %w", file.name, err)
		}
	}
	return nil
}

// openJailDir opens /etc/ssl/rc and makes what is missing of it. An image may
// link /etc or /etc/ssl to elsewhere below the root; the last level is ours
// and must be a real directory.
func openJailDir(root *os.Root, uid, gid int) (*os.Root, error) {
	for _, path := range []string{"etc", "etc/ssl"} {
		if info, err := root.Stat(path); err == nil && info.IsDir() {
			continue
		}
		if err := makeDir(root, path, uid, gid); err != nil {
			return nil, err
		}
	}
	const last = "etc/ssl/rc"
	if info, err := root.Lstat(last); err != nil || !info.IsDir() {
		if err := makeDir(root, last, uid, gid); err != nil {
			return nil, err
		}
	}
	return root.OpenRoot(last)
}

// makeDir puts a directory at path, in the place of whatever else is there.
func makeDir(root *os.Root, path string, uid, gid int) error {
	if err := root.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := root.Mkdir(path, 0o755); err != nil {
		return err
	}
	return root.Lchown(path, uid, gid)
}

// replaceFile makes dir/name have data, mode and owner.
func replaceFile(dir *os.Root, name string, data []byte, mode fs.FileMode, uid, gid int) error {
	if upToDate(dir, name, data, mode, uid, gid) {
		return nil
	}
	temp := "." + name + ".new"
	if err := dir.RemoveAll(temp); err != nil { // of a predecessor that was killed
		return err
	}
	if done, err := createFile(dir, name, data, mode, uid, gid); done || err != nil {
		return err
	}
	// O_EXCL follows no link, so whatever appears here in between is refused.
	file, err := dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Chown(uid, gid), file.Chmod(mode), file.Close())
	if err == nil {
		if info, statErr := dir.Lstat(name); statErr == nil && info.IsDir() {
			err = dir.RemoveAll(name) // a rename cannot replace a directory
		}
	}
	if err == nil {
		err = dir.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, dir.RemoveAll(temp))
	}
	return nil
}

// createFile writes dir/name in place if nothing is there, which is half the
// work of a rename; a part that is left of it after a crash is replaced.
func createFile(dir *os.Root, name string, data []byte, mode fs.FileMode, uid, gid int) (done bool, err error) {
	file, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	info, err := file.Stat()
	if err == nil && !ownedBy(info, uid, gid) {
		err = file.Chown(uid, gid)
	}
	_, werr := file.Write(data)
	if err = errors.Join(err, werr); err == nil && mode != 0o600 {
		err = file.Chmod(mode)
	}
	return true, errors.Join(err, file.Close())
}

// upToDate tells whether dir/name is a plain file that needs no change.
func upToDate(dir *os.Root, name string, data []byte, mode fs.FileMode, uid, gid int) bool {
	info, err := dir.Lstat(name)
	if err != nil || info.Mode() != mode || info.Size() != int64(len(data)) || !ownedBy(info, uid, gid) {
		return false
	}
	// Between the two the name may have become a FIFO, which must not block us.
	file, err := dir.OpenFile(name, os.O_RDONLY|plainOpen, 0)
	if err != nil {
		return false
	}
	defer file.Close() // read-only
	got, err := io.ReadAll(io.LimitReader(file, int64(len(data))+1))
	return err == nil && bytes.Equal(got, data)
}
