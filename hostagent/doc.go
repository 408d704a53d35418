// Package hostagent makes this host match its slice of State, and reports
// what it sees.
//
// Laws:
//
//   - Want is computed from State alone, Have from host.db and the drivers;
//     Next compares the two and names ONE step. A lost or merged wake-up
//     never matters: each pass looks again.
//   - host.db is written before and after each step, so that a killed agent's
//     successor adopts what runs and removes what nobody wants.
//   - Every step may be repeated. "Already so" is success.
//   - Jails outlive the agent: it starts them detached, and adopts them by
//     (uuid, Seq) when it comes back.
//   - Reports are changes, never heartbeats; the newest one replaces those
//     that were not sent yet.
//
// Flow: State changes -> Run makes networks so and wakes the worker of each
// jail -> worker: Want, Have, Next, do, report -> Propose. One worker per
// jail, all in parallel.
package hostagent
