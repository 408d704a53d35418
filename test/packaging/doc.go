// Package packaging holds the tests of what is installed: rc script and systemd unit, manual pages, samples, the tree of a package.
//
// Laws: nothing is installed on the machine of the test; scripts run under stubs of what the system has.
package packaging
