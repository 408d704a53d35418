package dnsd

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FreeBSD 15 keeps the ends of messages only for who marks them, and may hand them over in parts.
func TestMessagesAreReadHoweverTheyWereCut(t *testing.T) {
	t.Parallel()
	text := `{"v":1,"type":"zone","gen":1,"of":1,"records":[` + strings.Repeat(`{"name":"x"},`, 4000) + `{"name":"y"}]}` +
		`{"v":1,"type":"serial","gen":1,"serial":7}` + "\n" + `{"v":1,"type":"later"}`
	for name, r := range map[string]io.Reader{
		"as one": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)), "halved": iotest.HalfReader(strings.NewReader(text)),
	} {
		in := readMessages(r)
		var got []string
		for {
			var m feedMessage
			if err := in.Decode(&m); err != nil {
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			got = append(got, m.Type)
		}
		if strings.Join(got, " ") != "zone serial later" {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
