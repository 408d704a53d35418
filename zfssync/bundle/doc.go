// Package bundle is the format in which a base travels: files that any web server can serve, that plain openssl can sign
// and check, and that a person can read.
//
// A bundle called NAME is these files in one directory:
//
//	NAME.tar.zst            the root file system: .tar or .zfs, packed by zst, gz, bz2, xz or not at all
//	NAME.base               what it is (Meta): a few lines of "key: value"
//	NAME.sha256             the SHA-256 of the two, as `openssl dgst -sha256 NAME.tar.zst NAME.base` prints it
//	NAME.sha256sig.PRINT    the signature over NAME.sha256 by the certificate whose SHA-256 fingerprint is PRINT
//
// The signature is what `openssl dgst -sha256 -sign KEY NAME.sha256` writes (RSA PKCS#1 v1.5, ECDSA), and for an
// Ed25519 key what `openssl pkeyutl -sign -rawin` writes (RFC 8032; such keys sign the text itself).
//
// Laws:
//
//   - Nothing that a stranger wrote is used before the signature over NAME.sha256 is found good: not even NAME.base.
//   - A trusted signer is a certificate, by fingerprint. No chain is followed; the dates in the certificate count.
//   - What is refused is refused by a *Refusal, whose Reason is for programs and whose text is for people.
//   - Nothing here reads the clock or the network: now and bytes are arguments.
//
// Flow: Papers.Verify checks the small files and says what the payload must be; whoever fetches the payload compares
// size and digest; Inspect then walks a tar without writing anything. Sign makes the small files.
package bundle
