// Package overlay makes hosts out of network namespaces, with real bridges, routers, namespaces of jails and WireGuard devices, and no
// daemon: for the tests of what netd and netd/mesh do together, and for the bench of it.
//
// Laws: everything is in namespaces of its own and ends with them; nothing is left on the machine.
//
// Flow: New, then per change Place or Move, Apply; In runs code where a jail is.
package overlay
