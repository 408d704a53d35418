// Package sim is a whole cluster in one goroutine under a scripted clock: the
// real Apply, scheduler and agent decisions, with a list of entries in raft's
// place and hosts whose processes are pretended.
//
// Laws:
//
//   - One seed, one story: no map order, goroutine or real clock takes part.
//   - What is believed and what is so are kept apart. A State says where a jail
//     should run; procs of a host says what really runs there, also while its
//     daemon is dead or cut off. Safety is judged by what is so.
//   - Faults only hurt what they hurt in life: a daemon that is killed leaves
//     its processes running and its rows in host.db; a host that goes down
//     leaves its rows; a cut host hears and says nothing.
//
// Flow: New, then Run for a while with faults, or Do with one; check after every
// event; at last Calm, which ends all faults and waits until everything that is
// wished runs exactly once. Fuzz does all of it from a seed.
package sim
