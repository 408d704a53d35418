// Package join lets a host that has nothing but a token become a member: it
// checks that it speaks to the right cluster, shows the token's secret, and
// gets a certificate.
//
// Laws:
//
//   - The token carries the fingerprint of the cluster's CA. The secret leaves
//     only when the other end has shown a server's certificate under that CA.
//   - The cluster keeps the hash of the secret. It is compared in constant
//     time, for unknown tokens too, and whoever is refused learns nothing of
//     the reason: all refusals of a token are one.
//   - A token buys a certificate and nothing else; what a certificate may do
//     does not depend on how it was bought.
//   - What strangers can cost is bounded: bytes, time, and tries.
//
// Flow: NewToken at `rexctl token create`; Do at `rexcarcer join`; Handler on
// the servers, behind transport.Join.
package join
