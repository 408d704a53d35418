package dnsd

import (
	"bufio"
	"encoding/json"
	"io"
)

// readMessages reads one message after the other. Each comes as one packet on Linux and FreeBSD 14; on FreeBSD 15 a read returns
// a part of a message when its sender found no room for the rest, and two messages as one when a sender did not mark
// their ends (send(2), MSG_EOR). JSON says itself where it ends. The buffer holds a whole packet: what a read has no room for
// is lost on Linux.
func readMessages(r io.Reader) *json.Decoder {
	return json.NewDecoder(bufio.NewReaderSize(r, feedLimit+1))
}
