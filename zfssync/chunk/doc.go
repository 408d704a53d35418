// Package chunk cuts a stream where its content says so, so that a new version of something large shares most of its
// chunks with the old one, and only the others have to be fetched.
//
// Laws:
//
//   - Boundaries depend on the bytes around them and on nothing else (FastCDC: Xia et al., USENIX ATC 2016): a byte that
//     is put in moves the boundaries near it, and the rest stay what they were.
//   - Chunks are cut from the UNCOMPRESSED stream. One changed byte changes all that a compressor writes after it, so a
//     compressed stream has nothing to share.
//   - A chunk is known by the SHA-256 of its bytes. Whatever is fetched or found is hashed before it is handed on, so a
//     server, a cache or a disk that lies is found out.
//   - A packed stream is one zstd frame for each chunk, one after the other. RFC 8878 lets frames follow each other, so
//     any zstd unpacks it, and a chunk can be fetched by a Range request on the file itself.
//   - Memory is bounded: chunks grow with the stream (ParamsFor), so an index has about 2^18 entries up to 1 TiB, and 2^20 at most.
//
// Flow: Split reads a stream chunk by chunk. Pack writes NAME and its Index, which is served as NAME.chunks beside it.
// Fetch reads the index, takes what a Local has, asks for the rest by Range requests, and writes NAME bit by bit as
// it was packed, so that a signature over the file still holds.
package chunk
