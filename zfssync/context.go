package zfssync

import (
	"context"
	"errors"
	"io"
	"os"
)

// CopyDigest returns the canonical digest ("sha256:<hex>") of what COPY takes from a build context: paths, modes,
// content and link targets of src ("." is all of it), less what .rexignore leaves out. Owners and times do not count.
func CopyDigest(root *os.Root, src []string) (string, error) { return "", errors.New("not written yet") }

// PackContext writes the context beneath root (src: paths in it; "." is all) as a zstd-compressed tar, the same bytes
// for the same content, and returns its digest "sha256:<hex>". Nothing outside root is read.
func PackContext(root *os.Root, src []string, w io.Writer) (digest string, err error) {
	return "", errors.New("not written yet")
}

// CopyOptions say what ApplyCopy takes from a packed context, where to, and for whom.
type CopyOptions struct {
	Src      []string // paths in the context; "." is all of it
	Dst      string   // absolute path in the root; a trailing '/' says that it is a directory
	UID, GID int      // owner of everything that is made, as the host sees it
}

// ApplyCopy copies from a packed context into the file system below rootFS, like COPY of a Dockerfile: a file to a
// file, a file into a directory, the content of a directory into a directory. Links in rootFS cannot lead out of it.
func ApplyCopy(ctx context.Context, rootFS string, packed io.Reader, o CopyOptions) error {
	return errors.New("not written yet")
}
