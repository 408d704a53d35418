//go:build !linux && !freebsd

package mesh

// backends: nothing here carries an overlay.
func backends(Options, string) []backend { return nil }
