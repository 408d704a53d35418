package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// grid aligns columns itself: a colour's bytes have no width. Rows may come in
// parts; a column is then as wide as the widest cell so far.
type grid[T any] struct {
	e      *env
	cols   []column[T]
	titles bool // are still to be written
	widths []int
}

func newGrid[T any](e *env, columns []column[T], wide, header bool) *grid[T] {
	t := &grid[T]{e: e, titles: header}
	for _, col := range columns {
		if wide || !col.wide {
			t.cols = append(t.cols, col)
		}
	}
	t.widths = make([]int, len(t.cols))
	return t
}

// add writes rows, the first ones under the titles.
func (t *grid[T]) add(rows []T) error {
	cells := make([][]string, 0, len(rows)+1)
	moods := make([][]mood, 0, len(rows)+1)
	if t.titles {
		titles := make([]string, len(t.cols))
		for i, col := range t.cols {
			titles[i] = col.title
		}
		cells, moods = append(cells, titles), append(moods, make([]mood, len(t.cols)))
		t.titles = false
	}
	for _, r := range rows {
		line, paint := make([]string, len(t.cols)), make([]mood, len(t.cols))
		for i, col := range t.cols {
			if line[i] = clean(col.get(r)); line[i] == "" {
				line[i] = "-"
			}
			if col.mood != nil {
				paint[i] = col.mood(r)
			}
		}
		cells, moods = append(cells, line), append(moods, paint)
	}
	return alignIn(t.widths, t.e.stdout, cells, moods, t.e.colour(t.e.outTTY))
}

// table writes all rows of a table.
func table[T any](e *env, rows []T, columns []column[T], wide, header bool) error {
	return newGrid(e, columns, wide, header).add(rows)
}

// align writes cells in columns that are as wide as the widest in them.
func align(w io.Writer, cells [][]string, moods [][]mood, colour bool) error {
	columns := 0
	for _, line := range cells {
		columns = max(columns, len(line))
	}
	return alignIn(make([]int, columns), w, cells, moods, colour)
}

// alignIn writes cells in columns of widths, which grow to what they hold.
func alignIn(widths []int, w io.Writer, cells [][]string, moods [][]mood, colour bool) error {
	for _, line := range cells {
		for i, text := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	var b strings.Builder
	for l, line := range cells {
		for i, text := range line {
			pad := widths[i] - utf8.RuneCountInString(text) + 2
			if i == len(line)-1 {
				pad = 0
			}
			if m := moods[l][i]; colour && m != plain {
				text = string(m) + text + "\x1b[0m"
			}
			b.WriteString(text + strings.Repeat(" ", pad))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
