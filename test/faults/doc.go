// Command faults does to a cluster of real daemons what breaks machines, while
// clients write and read, and judges what the clients were told.
//
//	go run ./test/faults            all, as `make faults`: a table
//	go run ./test/faults -short     each kind of fault once
//	go run ./test/faults -only leader
//
// Each host is a process in a network namespace of its own. The wire between
// the hosts is this program: it holds the other ends of their TAP devices, so it can
// cut, lose and delay what it likes, in one direction too, and nothing of this
// machine's own network is touched. Jails are simulated: what is tested is the
// log, its disk and its network.
//
// Laws:
//
//   - The oracle knows nothing of the daemons but what they answered: a history that
//     is linearizable (porcupine), every acknowledged write in the log under the index
//     that was named, and the same hash of State at the same index on all hosts.
//   - A write whose answer did not come may have happened or not, at any later time.
//   - Every wait has a deadline.
//
// Flow: newLab forms a cluster; run does one fault after the other: a load begins,
// the fault strikes, a write is acknowledged again (that is the recovery time), the
// fault ends, all hosts are well, the load ends, and the oracle judges.
package main
