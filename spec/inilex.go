package spec

import (
	"bytes"
	"strings"
)

// The lexer of the supervisor file: sections of key=value lines. Comments begin
// with # or ; at the start of a line, or after a blank behind an unquoted value.

// iniWord is a piece of text and where it stands.
type iniWord struct {
	text string
	sp   span
}

// iniKey is one key=value line.
type iniKey struct {
	key, value iniWord
}

// iniSection is [kind] or [kind:label] with its keys.
type iniSection struct {
	kind, label iniWord
	head        span
	keys        []iniKey
}

// lexINI cuts src into sections; what is neither is reported through fail.
func lexINI(src []byte, fail func(sp span, hint, format string, args ...any)) []*iniSection {
	var out []*iniSection
	for pos := 0; pos < len(src); {
		end := pos + bytes.IndexByte(src[pos:], '\n')
		if end < pos {
			end = len(src)
		}
		start, stop := trimBlanks(src, pos, end)
		pos = end + 1
		if start == stop || src[start] == '#' || src[start] == ';' {
			continue
		}
		if src[start] == '[' {
			if s := iniHead(src, start, stop, fail); s != nil {
				out = append(out, s)
			}
			continue
		}
		k, ok := iniLine(src, start, stop, fail)
		switch {
		case !ok:
		case len(out) == 0:
			fail(k.key.sp, "begin with a section such as [vessel-supervisor]", "%q stands before the first section", clip(k.key.text))
		default:
			s := out[len(out)-1]
			s.keys = append(s.keys, k)
		}
	}
	return out
}

// iniHead reads [kind] or [kind:label].
func iniHead(src []byte, start, stop int, fail func(span, string, string, ...any)) *iniSection {
	end := bytes.IndexByte(src[start:stop], ']')
	if end < 0 {
		fail(span{start, stop}, "end the section's name with ]", "the section's name does not end")
		return nil
	}
	if rest, _ := trimBlanks(src, start+end+1, stop); rest < stop && src[rest] != '#' && src[rest] != ';' {
		fail(span{rest, stop}, "write it on a line of its own", "something stands behind the section's name")
		return nil
	}
	inner := iniTrim(src, start+1, start+end)
	s := &iniSection{kind: inner, head: span{start, start + end + 1}}
	if colon := strings.IndexByte(inner.text, ':'); colon >= 0 {
		s.kind = iniTrim(src, inner.sp.start, inner.sp.start+colon)
		s.label = iniTrim(src, inner.sp.start+colon+1, inner.sp.end)
	}
	return s
}

// iniLine reads key=value. A value in double quotes knows \" and \\.
func iniLine(src []byte, start, stop int, fail func(span, string, string, ...any)) (iniKey, bool) {
	eq := bytes.IndexByte(src[start:stop], '=')
	if eq <= 0 {
		fail(span{start, stop}, "write key=value", "%q is no key=value", clip(string(src[start:stop])))
		return iniKey{}, false
	}
	k := iniKey{key: iniTrim(src, start, start+eq)}
	from, _ := trimBlanks(src, start+eq+1, stop)
	if from < stop && src[from] == '"' {
		return iniQuoted(src, k, from, stop, fail)
	}
	for i := from; i < stop; i++ {
		if (src[i] == '#' || src[i] == ';') && (i == from || src[i-1] == ' ' || src[i-1] == '\t') {
			stop = i
			break
		}
	}
	k.value = iniTrim(src, from, stop)
	return k, true
}

func iniQuoted(src []byte, k iniKey, from, stop int, fail func(span, string, string, ...any)) (iniKey, bool) {
	var b strings.Builder
	for i := from + 1; i < stop; i++ {
		switch c := src[i]; {
		case c == '\\' && i+1 < stop && (src[i+1] == '"' || src[i+1] == '\\'):
			i++
			b.WriteByte(src[i])
		case c == '"':
			if rest, _ := trimBlanks(src, i+1, stop); rest < stop && src[rest] != '#' && src[rest] != ';' {
				fail(span{rest, stop}, "", "something stands behind the value of %s", clip(k.key.text))
				return k, false
			}
			k.value = iniWord{b.String(), span{from, i + 1}}
			return k, true
		default:
			b.WriteByte(c)
		}
	}
	fail(span{from, stop}, `end it with "`, "the value of %s does not end", clip(k.key.text))
	return k, false
}

func iniTrim(src []byte, start, stop int) iniWord {
	start, stop = trimBlanks(src, start, max(start, stop))
	return iniWord{string(src[start:stop]), span{start, stop}}
}
