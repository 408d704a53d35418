// Package plan says beforehand, exactly, what applying a wish will do: which
// jails appear, change, move or go, on which host, with which addresses, DNS
// names, certificates and published ports.
//
// Laws:
//
//   - A Plan is computed by doing it: fsm.Apply folds the wish into the
//     immutable State, a dry run plays agents and scheduler on the result, and
//     the steps are the difference. There is no second idea of what apply does.
//   - Pure: no clock, randomness, environment or I/O but the given writer.
//   - A Plan carries the index that it looked at. Its Command is refused as a
//     conflict exactly when something that it depends on moved since.
//   - The dry run assumes that images get built, jails get healthy and hosts
//     stay as they are. Where that cannot give a jail a host, Warnings says so.
//
// Flow: Make(wish, State, place) -> Plan -> Text for a human, JSON for a
// machine (docs/reference/plan-json.md), Command for the log.
package plan
