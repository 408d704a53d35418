package api

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRowIsEncodedAsTheLibraryDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"\\\x00-\x1f\x7f ]{0,8}`))
		row := JailRow{
			Name: text.Draw(t, "name"), UUID: text.Draw(t, "uuid"), Network: text.Draw(t, "network"), Host: text.Draw(t, "host"),
			Phase: text.Draw(t, "phase"), Health: text.Draw(t, "health"), Addresses: append([]string{}, rapid.SliceOf(text).Draw(t, "addresses")...),
			Restarts: rapid.Uint64().Draw(t, "restarts"), Image: text.Draw(t, "image"), Want: text.Draw(t, "want"), Group: text.Draw(t, "group"),
			Wish: text.Draw(t, "wish"), UpToDate: rapid.Bool().Draw(t, "up"), Policy: text.Draw(t, "policy"), Reason: text.Draw(t, "reason"),
			Simulated: rapid.Bool().Draw(t, "simulated"),
		}
		if n := rapid.Int64Range(0, 4e18).Draw(t, "since"); n > 0 {
			row.Since = time.Unix(0, n).UTC()
		}
		want, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		if got := row.appendJSON(nil); !bytes.Equal(got, want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}
