// Package run starts processes, and is the only place in RexCarcer that does.
//
// Laws:
//
//   - A command is an argv, never a shell line: nothing is quoted, split or expanded here.
//   - Every command has a deadline. When it passes, or when ctx ends, the whole process group dies, so that a child of
//     the child cannot hold a lock or a mount behind our back.
//   - LC_ALL is C, so that messages can be read by programs.
//   - What the command wrote to standard error is in the error, beside argv and exit code.
//
// Flow: a driver is given a Runner. In production that is Real; tests give it a Transcript, which answers from a text
// and complains about calls that the text does not hold, or a Func.
package run
