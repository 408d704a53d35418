package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// rawAfter lists commands whose arguments are somebody else's command line
// after so many words of ours: `rexctl exec web-1 ls -l`.
var rawAfter = map[string]int{"exec": 1, "jail exec": 1, "image debug": 1, "run": 1, "network console": 1}

// arrange puts flags before arguments, which is all that urfave/cli reads, so
// that people may put them anywhere: `rexctl logs web-1 -f`. What follows "--"
// is left alone.
func arrange(app *cli.App, argv []string) ([]string, error) {
	a := arranger{level: app.Commands, app: app}
	for i := 0; i < len(argv); i++ {
		word := argv[i]
		switch {
		case word == "--":
			a.rest = argv[i+1:]
			i = len(argv)
		case len(word) > 1 && word[0] == '-':
			n, err := a.flag(word, argv[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
		default:
			if n, raw := rawAfter[strings.Join(a.path, " ")]; raw && len(a.words) == n {
				a.rest = argv[i:]
				i = len(argv)
				continue
			}
			a.word(word)
		}
	}
	return a.result()
}

type arranger struct {
	app   *cli.App
	cmd   *cli.Command   // found so far
	level []*cli.Command // where the next word may be a command
	path  []string       // words that named commands
	flags []string
	words []string
	rest  []string
}

func (a *arranger) word(w string) {
	if len(a.words) == 0 {
		for _, c := range a.level {
			if c.HasName(w) {
				a.cmd, a.level, a.path = c, c.Subcommands, append(a.path, c.Name)
				return
			}
		}
	}
	a.words = append(a.words, w)
}

// flag takes a flag, and its value from next if it needs one; it returns how
// many words of next it took.
func (a *arranger) flag(word string, next []string) (int, error) {
	name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
	f := a.find(name)
	if f == nil {
		if letters, ok := a.letters(word); ok {
			a.flags = append(a.flags, letters...)
			return 0, nil
		}
		return 0, usagef("unknown flag %s\n  try: rexctl %s", word, strings.Join(append(a.path, "--help"), " "))
	}
	// One spelling: urfave/cli refuses -e beside --env.
	long := "--" + f.Names()[0]
	if inline {
		a.flags = append(a.flags, long+"="+value)
		return 0, nil
	}
	a.flags = append(a.flags, long)
	if isBool(f) {
		return 0, nil
	}
	if len(next) == 0 {
		return 0, usagef("flag %s needs a value\n  try: rexctl %s", word, strings.Join(append(a.path, "--help"), " "))
	}
	a.flags = append(a.flags, next[0])
	return 1, nil
}

// letters splits -it into --interactive --tty.
func (a *arranger) letters(word string) ([]string, bool) {
	if strings.HasPrefix(word, "--") || len(word) < 3 {
		return nil, false
	}
	var out []string
	for _, r := range word[1:] {
		f := a.find(string(r))
		if f == nil || !isBool(f) {
			return nil, false
		}
		out = append(out, "--"+f.Names()[0])
	}
	return out, true
}

func (a *arranger) find(name string) cli.Flag {
	lists := [][]cli.Flag{{cli.HelpFlag}, a.app.Flags}
	if a.cmd != nil {
		lists = append(lists, a.cmd.Flags)
	}
	if a.cmd == nil || len(a.cmd.Subcommands) > 0 {
		lists = append(lists, commonFlags()) // they may stand before the command
	}
	for _, list := range lists {
		for _, f := range list {
			if slices.Contains(f.Names(), name) {
				return f
			}
		}
	}
	return nil
}

func isBool(f cli.Flag) bool {
	_, ok := f.(*cli.BoolFlag)
	return ok
}

func (a *arranger) result() ([]string, error) {
	if len(a.words) > 0 && (a.cmd == nil || len(a.cmd.Subcommands) > 0) {
		return nil, unknownCommand(a)
	}
	out := append(slices.Clone(a.path), a.flags...)
	if len(a.words)+len(a.rest) > 0 {
		out = append(append(append(out, "--"), a.words...), a.rest...)
	}
	return out, nil
}

func unknownCommand(a *arranger) error {
	var names []string
	for _, c := range a.level {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	whole := strings.Join(append(slices.Clone(a.path), a.words[0]), " ")
	hint := "rexctl " + strings.Join(append(slices.Clone(a.path), "--help"), " ")
	if near := nearest(a.words[0], names); near != "" {
		hint = "rexctl " + strings.Join(append(slices.Clone(a.path), near), " ")
	}
	return usagef("unknown command %q\n  try: %s", whole, hint)
}

// nearest is the name that differs least from word, or "".
func nearest(word string, names []string) string {
	best, found := 3, ""
	for _, n := range names {
		if d := distance(word, n); d < best || strings.HasPrefix(n, word) && found == "" {
			best, found = min(d, best), n
		}
	}
	return found
}

// distance is the edit distance of a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal, row[j] = row[j], min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
