// Package transfer moves layers, images, volumes and jails between the stores of two hosts, over a connection that
// somebody else has made and authenticated.
//
// Laws:
//
//   - What is missing decides what travels. Plan is pure: it compares snapshots by GUID, never by name, and says nothing,
//     a difference, or all. What a clone stands on comes before the clone, and a clone comes as its difference: never the
//     whole of it.
//   - Nothing reaches a Store that was not checked. A stream comes in frames, each with its SHA-256; the last frame is kept
//     back until the SHA-256 over all of them is right, so that no store commits what was cut or forged.
//   - The same options give the same stream (zfssync.Streams.Send), so a cut is no loss: the client asks for the stream from
//     frame N on, shows the sum over the frames that it has, and the server proves that it means the same stream before it
//     goes on. Another source may go on where one was cut.
//   - A source is never trusted to go on: one that stalls, cuts or lies loses points, and others are asked first.
//   - Memory does not grow with the stream: a few frames of 256 KiB on either side.
//   - Who may come is decided by the hook that Server is given; without one it refuses all.
//
// Flow, on the side that wants something: Client.EnsureImage (or EnsureObject) asks a Source for its snapshots, Plan makes
// steps, each step is one Receive of the own Store fed by a pull, which reads frames from one source after another.
// On the other side Server answers from its Store.
//
// Three ways to save work, besides the plan: a resume token where the storage keeps what came (OpenZFS); a spool file where
// it does not, so that a killed daemon goes on too; and, for formats that know no difference between two snapshots (tar), Delta, which
// fetches only the chunks (package chunk) that no similar object here has.
//
// What travels on the wire stands in wire.go.
package transfer
