package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A list of 100,000 jails is 40 MB. encoding/json takes half a second for it,
// which is most of what `rexctl ps` takes; what follows takes a fifth, because
// it knows what the server writes. A row that it does not know it leaves to
// encoding/json, so that nothing depends on it.

const (
	maxRow  = 4 << 20 // bytes that one row may have
	rowPart = 4096    // rows that are kept together until all are there
)

// decodeRows takes a list of jails as it comes: the server is still writing the
// end of it.
func decodeRows(body io.Reader, rows *[]JailRow) error {
	l := &rowList{}
	buf, have := make([]byte, 256<<10), 0
	for {
		n, err := body.Read(buf[have:])
		have += n
		used, bad := l.take(string(buf[:have])) // all strings of the rows are parts of it
		if bad != nil {
			return bad
		}
		have = copy(buf, buf[used:have])
		switch {
		case errors.Is(err, io.EOF):
			if !l.ended || have > 0 {
				return fmt.Errorf("the list is cut off: %w", io.ErrUnexpectedEOF)
			}
			*rows = slices.AppendSeq(make([]JailRow, 0, l.rows), l.all)
			return nil
		case err != nil:
			return err
		case have >= maxRow:
			return fmt.Errorf("a row has more than %d bytes", maxRow)
		case have == len(buf):
			buf = slices.Concat(buf, make([]byte, len(buf)))
		}
	}
}

// rowList is a list of rows as it comes.
type rowList struct {
	begun, ended bool
	comma        bool // the last that came is a comma
	rows         int
	parts        [][]JailRow
}

var errNoList = errors.New("it is no list of objects")

// take adds the rows of text, and returns how much of it is done: what is left
// is the beginning of a row.
func (l *rowList) take(text string) (used int, err error) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' || c == '\n' || c == '\t' || c == '\r':
		case !l.begun && c == '[':
			l.begun = true
		case !l.begun || l.ended:
			return 0, errNoList
		case c == ']' && !l.comma:
			l.ended = true
		case c == ',' && !l.comma && l.rows > 0:
			l.comma = true
		case c == '{' && (l.comma || l.rows == 0):
			n, err := l.row(text[i:])
			if n == 0 || err != nil {
				return i, err
			}
			l.comma = false
			i += n - 1
		default:
			return 0, errNoList
		}
	}
	return len(text), nil
}

func (l *rowList) all(yield func(JailRow) bool) {
	for _, part := range l.parts {
		for _, row := range part {
			if !yield(row) {
				return
			}
		}
	}
}

// row adds the row that text begins with, and returns its length; 0: text ends
// before it.
func (l *rowList) row(text string) (n int, err error) {
	row, n := scanRow(text)
	if n == 0 {
		if n = objectEnd(text); n == 0 {
			return 0, nil
		}
		row = JailRow{}
		if err := json.Unmarshal([]byte(text[:n]), &row); err != nil {
			return 0, err
		}
	}
	if l.rows%rowPart == 0 {
		l.parts = append(l.parts, make([]JailRow, 0, min(rowPart, max(16, l.rows))))
	}
	last := &l.parts[len(l.parts)-1]
	*last = append(*last, row)
	l.rows++
	return n, nil
}

// objectEnd is the length of the object that text begins with; 0: text ends
// before it.
func objectEnd(text string) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// rowScan reads a row as appendJSON writes it, without escapes.
type rowScan struct {
	rest string
	bad  bool
}

// scanRow is the row that text begins with, and its length; 0: it is written
// otherwise, or text ends before it.
func scanRow(text string) (row JailRow, n int) {
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
	if err != nil || p.bad || !p.take("}") || !row.UpToDate && current != "false" {
		return row, 0
	}
	return row, len(text) - len(p.rest)
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
