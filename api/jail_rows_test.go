package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// drawRow draws plain words, and texts of what JSON must escape.
func drawRow(t *rapid.T) JailRow {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"{}\[\],\\\x00-\x1f\x7f ]{0,8}`), rapid.StringMatching(`[a-z0-9-]{1,12}`))
	if rapid.Bool().Draw(t, "plain") {
		text = rapid.StringMatching(`[a-z0-9{}\[\], -]{0,12}`)
	}
	row := JailRow{
		Name: text.Draw(t, "name"), UUID: text.Draw(t, "uuid"), Network: text.Draw(t, "network"), Host: text.Draw(t, "host"),
		Phase: text.Draw(t, "phase"), Health: text.Draw(t, "health"), Addresses: append([]string{}, rapid.SliceOfN(text, 0, 3).Draw(t, "addresses")...),
		Restarts: rapid.Uint64().Draw(t, "restarts"), Image: text.Draw(t, "image"), Want: text.Draw(t, "want"), Group: text.Draw(t, "group"),
		Wish: text.Draw(t, "wish"), UpToDate: rapid.Bool().Draw(t, "up"), Policy: text.Draw(t, "policy"), Reason: text.Draw(t, "reason"),
		Simulated: rapid.Bool().Draw(t, "simulated"),
	}
	if n := rapid.Int64Range(0, 4e18).Draw(t, "since"); n > 0 {
		row.Since = time.Unix(0, n).UTC()
	}
	return row
}

func TestRowIsEncodedAsTheLibraryDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		row := drawRow(t)
		want, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		if got := row.appendJSON(nil); !bytes.Equal(got, want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func TestRowsAreDecodedAsTheLibraryDoes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := []JailRow{}
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			rows = append(rows, drawRow(t))
		}
		b, err := json.Marshal(rows)
		if rapid.IntRange(0, 3).Draw(t, "indent") == 0 {
			b, err = json.MarshalIndent(rows, "", "  ") // as no server of ours does
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 1 && rows[0].Reason == "" {
			if row, n := scanRow(string(rows[0].appendJSON(nil))); n > 0 && !reflect.DeepEqual(row, rows[0]) {
				t.Fatalf("scanned %+v, want %+v", row, rows[0])
			}
		}
		var want, got []JailRow
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if err := decodeRows(iotest.OneByteReader(bytes.NewReader(b)), &got); err != nil {
			t.Fatalf("%v of %s", err, b)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		if cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); cut < len(bytes.TrimRight(b, "\n")) {
			if err := decodeRows(bytes.NewReader(b[:cut]), &got); err == nil {
				t.Fatalf("a list that was cut off is taken: %s", b[:cut])
			}
		}
	})
}

// What the server writes in life needs no library.
func TestAnOrdinaryRowIsScanned(t *testing.T) {
	t.Parallel()
	row := JailRow{
		Name: "web-1", UUID: "1c7c85d6-0b6f-821e-8abb-8444652b093d", Network: "net", Host: "h1", Phase: "running", Health: "healthy",
		Addresses: []string{"10.1.2.3", "fd00::3"}, Restarts: 2, Image: "web", Want: "running", Group: "web", Wish: "demo", UpToDate: true, Policy: "always",
		Reason: "check took 12 ms", Simulated: true, Since: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
	}
	if got, n := scanRow(string(row.appendJSON(nil)) + ","); n == 0 || !reflect.DeepEqual(got, row) {
		t.Errorf("%d: %+v", n, got)
	}
	row.Addresses, row.Reason, row.Simulated, row.Since = []string{}, "", false, time.Time{}
	if got, n := scanRow(string(row.appendJSON(nil)) + ","); n == 0 || !reflect.DeepEqual(got, row) {
		t.Errorf("%d: %+v", n, got)
	}
}

func TestWhatIsNoListOfRowsIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null", "{}", "[1]", "[{},]", "[,{}]", "[{} {}]", "[{}]]", "[{}", `[{"name":"x}]`, `[{"name":1}]`, "[{}] x"} {
		var rows []JailRow
		if err := decodeRows(strings.NewReader(text), &rows); err == nil {
			t.Errorf("%q is taken: %+v", text, rows)
		}
	}
	var rows []JailRow
	if err := decodeRows(io.MultiReader(strings.NewReader(`[{"name":"a"}`), iotest.ErrReader(io.ErrClosedPipe)), &rows); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken connection: %v", err)
	}
}
