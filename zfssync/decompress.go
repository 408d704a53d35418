package zfssync

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// maxXZDict is the dictionary that xz -9 needs, in bytes: FreeBSD's own archives have it.
const maxXZDict = 64 << 20

// decompress recognizes gzip, zstd, bzip2, xz and plain tar by their first bytes, and bounds what comes out.
func decompress(r io.Reader, limits Limits) (out io.Reader, done func(), err error) {
	packed := &counter{r: r}
	br := bufio.NewReaderSize(packed, 256<<10)
	head, err := br.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("read archive: %w", err)
	}
	b := &bounded{packed: packed, unpacked: br, limits: limits}
	done = func() {}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, nil, fmt.Errorf("read archive: %w", err)
		}
		b.unpacked = z
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		// A frame may ask for a window of gigabytes: 128 MiB is what zstd -19 --long=27 needs.
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, fmt.Errorf("read archive: %w", err)
		}
		b.unpacked, done = z, z.Close
	case bytes.HasPrefix(head, []byte("BZh")):
		b.unpacked = bzip2.NewReader(br)
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z'}):
		z, err := xz.NewReader(br, maxXZDict)
		if err != nil {
			return nil, nil, fmt.Errorf("read archive: %w", err)
		}
		b.unpacked = z
	}
	return b, done, nil
}
