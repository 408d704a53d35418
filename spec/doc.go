// Package spec is the user's language: HCL cluster files, .rex files and
// supervisor INI become one typed, validated Wish.
//
// It is part of the pure core: no clock, randomness, environment, file or
// network access. Whoever reads the files hands their bytes in; the daemon
// never parses HCL, it gets the Wish as JSON.
package spec
