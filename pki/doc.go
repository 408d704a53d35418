// Package pki makes, issues, verifies, describes and stores the cluster's keys
// and certificates.
//
// Laws:
//
//   - A private key is made where it is used and never leaves that host: what
//     travels is a CSR, what the log holds is the certificate.
//
//   - Of a CSR only its public key and the proof of possession count. Names,
//     addresses, identity and usage are set by the side that signs (Profile);
//     whatever else a CSR asks for is ignored, so a captured host cannot obtain
//     another's names.
//
//   - Who a certificate speaks for is its one SPIFFE URI
//     (spiffe://CLUSTER/jail/NAME, /server/ID, /host/ID or /user/NAME), never its CN.
//
//   - Time and serial randomness are arguments. (Key generation and signing
//     draw from the operating system: Go's crypto/ecdsa takes nothing else.)
//
//   - What is written into a jail is written beneath its root through os.Root,
//     whatever links the jail's own root user has planted there.
//
//   - The one key that travels is a CA's, between servers: each of them signs.
//     Ring holds it, sealed on disk if one wants, and gives it to nobody by
//     itself.
//
// Flow: FoundRing at the first start makes the CA below the data directory; a
// host agent calls NewKey and NewCSR; the leader calls Issue with the names
// that the State gives that jail; the agent stores the result with
// WriteJailFiles and asks RenewAt when to come again. The API takes its TLS
// configuration from Identity, ServerTLS and ClientTLS, and PeerID says who is
// at the other end.
//
// pki imports nothing of this module.
package pki
