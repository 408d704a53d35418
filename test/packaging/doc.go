// Package packaging holds the tests of what is installed on FreeBSD: rc script, manual pages, the tree of a package.
//
// Laws: nothing is installed on the machine of the test; scripts run under stubs of what FreeBSD has.
package packaging
