package zfssync

import "io"

// Unpack reads r through the decompressor that its first bytes ask for (gzip, zstd, bzip2, xz, or none) and ends with
// an error when more comes out than limits allow. done releases the decompressor.
func Unpack(r io.Reader, limits Limits) (out io.Reader, done func(), err error) {
	return decompress(r, limits.withDefaults())
}

// LinkClimbs reports whether the relative target of a symbolic link at name, read as text, leads above the root.
func LinkClimbs(name, target string) bool { return climbs(name, target) }

// WithDefaults fills in DefaultLimits where a field is zero.
func (l Limits) WithDefaults() Limits { return l.withDefaults() }
