// Command rexctl is how people and scripts speak to a RexCarcer cluster: it
// reads cluster files, asks the daemon's API and prints what it says.
//
// Laws:
//
//   - Tables and documents go to stdout; progress, hints and prompts to stderr.
//   - Exit codes: 0 done or no change, 1 error, 2 plan --exit-code has
//     changes, 3 not all came up in time, 4 conflict, 64 usage. exec passes
//     the command's own code.
//   - Flags may stand anywhere before "--" (see args.go).
//   - What destroys asks first; without a terminal it wants --yes.
//   - Errors name the object and the next command to try.
//
// Flow: main -> arrange(argv) -> urfave/cli -> one function per verb -> api.Client.
package main
