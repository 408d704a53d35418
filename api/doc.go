// Package api is the door for people and programs: HTTP and JSON under /v1
// over the local socket or TLS, its Go client, and the event stream.
//
// Laws:
//
//   - Reads come from one State value: an answer never mixes two log indexes.
//     Its index is in the Rex-Index header.
//   - Writes are Commands through Log.Propose and nothing else. What a user
//     looked at travels as If-Match (the plan's base index); when the State
//     has moved on, the answer is 409 and nothing changed.
//   - Every route is in one table (routes.go) with the roles that may use it;
//     a request without an identity gets nowhere. openapi.json describes the
//     same table, and a test compares both ways.
//   - Every error is {"error":{code, object, message, hint}}: the object by
//     name and the next thing to try.
//   - Streams (events, logs, builds, exec) have no overall time limit, but a
//     peer that takes nothing for a while is cut off. Events resume by index.
//
// Flow: identify -> role -> limits -> handler(State | Propose | Host) -> JSON.
package api
