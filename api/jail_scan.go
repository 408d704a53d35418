package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A list of 100,000 jails is 40 MB. encoding/json takes half a second for it,
// which is most of what `rexctl ps` takes; what follows takes a tenth, because
// it knows what the server writes. A row that it does not know it leaves to
// encoding/json, so that nothing depends on it.

// maxRow is the most that one row may have, in bytes.
const maxRow = 4 << 20

// decodeRows takes a list of jails as it comes, row by row: the server is still
// writing the end of it.
func decodeRows(body io.Reader, rows *[]JailRow) error {
	sc := bufio.NewScanner(body)
	sc.Buffer(make([]byte, 0, 256<<10), maxRow)
	l := &rowList{}
	sc.Split(l.split)
	*rows = []JailRow{}
	for sc.Scan() {
		text := sc.Text() // all strings of the row are parts of it
		row, ok := scanRow(text)
		if !ok {
			row = JailRow{}
			if err := json.Unmarshal([]byte(text), &row); err != nil {
				return err
			}
		}
		*rows = append(*rows, row)
	}
	if err := sc.Err(); err != nil {
		return err
	}
	if !l.ended {
		return fmt.Errorf("the list is cut off after %d rows: %w", len(*rows), io.ErrUnexpectedEOF)
	}
	return nil
}

// rowList finds the objects of a JSON list.
type rowList struct {
	begun, ended bool
	comma        bool // the next row must follow, or may only follow, a comma
	rows         int
}

var errNoList = errors.New("it is no list of objects")

// split is a bufio.SplitFunc: a token is one object.
func (l *rowList) split(data []byte, _ bool) (advance int, token []byte, err error) {
	for i, c := range data {
		switch {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
		case !l.begun && c == '[':
			l.begun = true
		case !l.begun || l.ended:
			return 0, nil, errNoList
		case c == ']' && !l.comma:
			l.ended = true
		case c == ',' && !l.comma && l.rows > 0:
			l.comma = true
		case c == '{' && (l.comma || l.rows == 0):
			n := objectEnd(data[i:])
			if n == 0 {
				return i, nil, nil // more of it is to come
			}
			l.comma = false
			l.rows++
			return i + n, data[i : i+n], nil
		default:
			return 0, nil, errNoList
		}
	}
	return len(data), nil, nil
}

// objectEnd is the length of the object that b begins with; 0: b ends before it.
func objectEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := textEnd(b[i+1:])
			if n < 0 {
				return 0
			}
			i += n + 1
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// textEnd is where the quote is that ends a string; -1: not in b.
func textEnd(b []byte) int {
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '"')
		if n < 0 {
			return -1
		}
		at += n
		slashes := 0
		for slashes < at && b[at-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return at
		}
		at++
	}
}

// rowScan reads a row as appendJSON writes it, without escapes.
type rowScan struct {
	rest string
	bad  bool
}

// scanRow is the row that text holds; false: it is written otherwise.
func scanRow(text string) (row JailRow, ok bool) {
	p := &rowScan{rest: text}
	row.Name, row.UUID = p.text(`{"name":`), p.text(`,"uuid":`)
	row.Network, row.Host = p.text(`,"network":`), p.text(`,"host":`)
	row.Phase, row.Health = p.text(`,"phase":`), p.text(`,"health":`)
	row.Addresses = p.texts(`,"addresses":[`)
	restarts, err := strconv.ParseUint(p.word(`,"restarts":`), 10, 64)
	row.Restarts = restarts
	row.Image, row.Want = p.text(`,"image":`), p.text(`,"want":`)
	row.Group, row.Wish = p.text(`,"group":`), p.text(`,"wish":`)
	current := p.word(`,"up_to_date":`)
	row.UpToDate = current == "true"
	row.Policy = p.text(`,"policy":`)
	if p.has(`,"reason":`) {
		row.Reason = p.text(`,"reason":`)
	}
	row.Simulated = p.take(`,"simulated":true`)
	if p.has(`,"since":`) {
		since, wrong := time.Parse(time.RFC3339Nano, p.text(`,"since":`))
		row.Since, p.bad = since, p.bad || wrong != nil
	}
	return row, err == nil && !p.bad && p.rest == "}" && (row.UpToDate || current == "false")
}

func (p *rowScan) has(key string) bool { return strings.HasPrefix(p.rest, key) }

func (p *rowScan) take(key string) bool {
	if !p.has(key) {
		return false
	}
	p.rest = p.rest[len(key):]
	return true
}

// text is the string after key.
func (p *rowScan) text(key string) string {
	if !p.take(key) || !p.take(`"`) {
		p.bad = true
		return ""
	}
	n := strings.IndexByte(p.rest, '"')
	if n < 0 || strings.IndexByte(p.rest[:n], '\\') >= 0 {
		p.bad = true
		return ""
	}
	s := p.rest[:n]
	p.rest = p.rest[n+1:]
	return s
}

// texts is the list of strings after key.
func (p *rowScan) texts(key string) []string {
	if !p.take(key) {
		p.bad = true
		return nil
	}
	out := []string{}
	for sep := ""; !p.bad && !p.take("]"); sep = "," {
		out = append(out, p.text(sep))
	}
	return out
}

// word is the number or the word after key.
func (p *rowScan) word(key string) string {
	if !p.take(key) {
		p.bad = true
		return ""
	}
	n := strings.IndexByte(p.rest, ',')
	if n < 0 {
		p.bad = true
		return ""
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}
