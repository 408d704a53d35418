// Package source brings bases from elsewhere to this host: signed bundles (http, https, a directory), OCI images (a registry
// or a layout directory) and FreeBSD releases.
//
// Laws:
//
//   - What is handed on is verified: bundles by a signature of a trusted signer, OCI images and FreeBSD releases by a digest
//     that was pinned, and every archive by a walk through it (bundle.Inspect). Until then it is a file that nobody unpacks.
//   - A file that came half is kept under the digest that it must have, and the rest is asked for the next time, also by
//     another process. It proves itself by its digest, so it does not matter who wrote the first half.
//   - What is refused is moved to quarantine with the reason beside it, and the error is a *bundle.Refusal. What merely
//     failed (network, disk) is tried again, a bounded number of times, and is an ordinary error.
//   - Nothing from outside has unbounded size: small files, payloads, redirects, retries, quarantine.
//
// Flow: Look reads what is small and says what the reference means now (an Origin with a digest); the caller records that
// digest; Fetch brings exactly it, and says in which file it lies. Close of what was fetched removes the file.
//
// Layout below Config.Dir:
//
//	partial/<digest>        files that are not whole yet, or not yet verified
//	ready/<digest>.<end>    verified files that are being unpacked
//	quarantine/<time>-<name>-<reason>/
package source
