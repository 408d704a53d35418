// Package spec is the user's language: HCL cluster files, .rex files and
// supervisor INI become one typed, validated Wish.
//
// It is part of the pure core: no clock, randomness, environment, file or
// network access. Whoever reads the files hands their bytes in (Inputs); the
// daemon never parses HCL, it gets the Wish as JSON.
//
// Laws:
//
//   - Same bytes and Inputs, same Wish, byte for byte, on every host.
//   - A Wish that Parse returns passes Validate; the daemon calls Validate all
//     the same, because it trusts nobody.
//   - Whatever the bytes are, nothing panics and nothing takes for ever: guard
//     bounds the text before HCL's parser sees it, budget bounds its
//     evaluation (failures.md, case 33).
//   - What passes ValidName and its kin needs no quoting anywhere (case 35).
//   - Every mistake is reported at its place, all of them at once.
//
// Flow of a cluster file:
//
//	Parse: guard -> hclsyntax -> decode (variables, locals, network, image, jail)
//	         image: parseRex -> finish (digests of COPY) -> sealKeys
//	         jail:  one replica at a time, self.* in scope
//	       -> validate: the same checker as Validate; Problem.Path -> place
//	       -> Normalize
//
// A .rex file goes rexLines -> rexParser -> Image, and ParseRexWish makes a
// Wish of it. Format prints either kind of file canonically. Constraint and
// Affinity are the expressions of placement blocks, parsed once and evaluated
// by the scheduler.
package spec
