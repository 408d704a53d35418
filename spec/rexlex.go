package spec

import (
	"strings"
)

// The .rex lexer makes logical lines: comments gone, continuations joined,
// each byte still knowing where it stands in the file.

// rexLine is one instruction.
type rexLine struct {
	text string
	at   []int // offset in the file of each byte of text, and of its end
	end  int   // offset after the last byte in the file
}

// rexLines cuts src into instructions. A line that ends in \ goes on in the
// next; the blanks around the break become one space. Empty lines and lines
// that begin with # are skipped, also inside a continuation.
func rexLines(src []byte) []rexLine {
	var lines []rexLine
	var cur rexLine
	going := false
	for pos := 0; pos < len(src); {
		end := pos
		for end < len(src) && src[end] != '\n' {
			end++
		}
		start, stop := trimBlanks(src, pos, end)
		pos = end + 1
		if start == stop || src[start] == '#' {
			if going && start == stop { // an empty line ends a continuation
				lines, cur, going = append(lines, cur), rexLine{}, false
			}
			continue
		}
		more := src[stop-1] == '\\'
		if more {
			start, stop = trimBlanks(src, start, stop-1)
		}
		if len(cur.text) > 0 && stop > start {
			cur.text += " "
			cur.at = append(cur.at, start)
		}
		cur.text += string(src[start:stop])
		for i := start; i < stop; i++ {
			cur.at = append(cur.at, i)
		}
		cur.end = stop
		if going = more; !more {
			lines, cur = append(lines, cur), rexLine{}
		}
	}
	if going {
		lines = append(lines, cur)
	}
	out := lines[:0]
	for _, l := range lines {
		if l.text != "" {
			l.at = append(l.at, l.end)
			out = append(out, l)
		}
	}
	return out
}

func trimBlanks(src []byte, start, end int) (int, int) {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
	for start < end && blank(src[start]) {
		start++
	}
	for end > start && blank(src[end-1]) {
		end--
	}
	return start, end
}

// rexWord is one word of a line, quotes removed.
type rexWord struct {
	text   string
	quoted bool // some part of it was
	sp     span // in the file
}

// cut takes the first word of bare letters, and what follows it.
func (l rexLine) cut() (word rexWord, rest rexLine) {
	i := strings.IndexAny(l.text, " \t")
	if i < 0 {
		i = len(l.text)
	}
	word = rexWord{text: l.text[:i], sp: l.span(0, i)}
	for i < len(l.text) && (l.text[i] == ' ' || l.text[i] == '\t') {
		i++
	}
	return word, rexLine{text: l.text[i:], at: l.at[i:], end: l.end}
}

// span is where text[i:j] is in the file.
func (l rexLine) span(i, j int) span {
	if j <= i {
		return span{l.at[i], l.at[i]}
	}
	return span{l.at[i], l.at[j-1] + 1}
}

// all is where the whole line is.
func (l rexLine) all() span { return l.span(0, len(l.text)) }

// words splits l as a shell does: blanks separate, "..." and '...' hold
// together, \ takes the next byte as it is (not inside '...'), # after a blank
// begins a comment. On error, at is the place of the quote.
func (l rexLine) words() (words []rexWord, at span, ok bool) {
	s := l.text
	for i := 0; i < len(s); {
		if s[i] == ' ' || s[i] == '\t' {
			i++
			continue
		}
		if s[i] == '#' {
			break
		}
		var text strings.Builder
		w, start, quote := rexWord{}, i, byte(0)
		opened := i
		for ; i < len(s) && (quote != 0 || s[i] != ' ' && s[i] != '\t'); i++ {
			c := s[i]
			switch {
			case quote == 0 && (c == '"' || c == '\''):
				quote, opened, w.quoted = c, i, true
			case quote != 0 && c == quote:
				quote = 0
			case c == '\\' && quote != '\'' && i+1 < len(s):
				i++
				text.WriteByte(s[i])
				w.quoted = true
			default:
				text.WriteByte(c)
			}
		}
		if quote != 0 {
			return nil, l.span(opened, len(s)), false
		}
		w.text, w.sp = text.String(), l.span(start, i)
		words = append(words, w)
	}
	return words, span{}, true
}
