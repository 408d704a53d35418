package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// completeCommand is what the shells call with the words before the cursor,
// the last of which is being typed.
const completeCommand = "__complete"

// completeTime bounds how long a key press may take.
const completeTime = 2 * time.Second

// complete prints what the last word could become, one per line.
func complete(ctx context.Context, app *cli.App, e *env, words []string) int {
	last := ""
	if n := len(words); n > 0 {
		last, words = words[n-1], words[:n-1]
	}
	a := arranger{level: app.Commands, app: app}
	for i := 0; i < len(words); i++ {
		if words[i] == "--" {
			return 0 // somebody else's command line
		}
		if strings.HasPrefix(words[i], "-") {
			n, err := a.flag(words[i], append(slices.Clone(words[i+1:]), "")) // the value may be what is typed now
			if err != nil {
				return 0
			}
			i += n
			continue
		}
		a.word(words[i])
	}
	for _, s := range suggestions(ctx, e, &a, last) {
		if strings.HasPrefix(s, last) {
			_, _ = fmt.Fprintln(e.stdout, s) // the shell is gone if this fails
		}
	}
	return 0
}

func suggestions(ctx context.Context, e *env, a *arranger, last string) []string {
	var out []string
	if strings.HasPrefix(last, "-") {
		flags := commonFlags()
		if a.cmd != nil && len(a.cmd.Subcommands) == 0 {
			flags = a.cmd.Flags
		}
		for _, f := range flags {
			out = append(out, "--"+f.Names()[0])
		}
		return append(out, "--help")
	}
	if len(a.words) == 0 && (a.cmd == nil || len(a.cmd.Subcommands) > 0) {
		for _, c := range a.level {
			out = append(out, c.Name)
		}
		return out
	}
	if a.cmd == nil {
		return nil
	}
	return objects(ctx, e, a)
}

// objects asks the daemon for the names that the command takes.
func objects(ctx context.Context, e *env, a *arranger) []string {
	client, err := api.NewClient(api.OptionsFromEnv(api.Options{}, e.getenv))
	if err != nil {
		return nil
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, completeTime)
	defer cancel()
	// Errors leave the list empty: a key press is no place for them.
	kind, _, _ := strings.Cut(strings.Trim(a.cmd.ArgsUsage, "[]."), " ")
	kind = strings.Trim(kind, "[].|")
	if strings.HasPrefix(kind, "VOLUME") { // [@SNAPSHOT]
		rows, _ := client.Volumes(ctx)
		return namesOf(rows, func(r api.VolumeRow) string { return r.Name })
	}
	switch kind {
	case "JAIL", "OBJECT":
		rows, _ := client.Jails(ctx, api.JailFilter{})
		return namesOf(rows, func(r api.JailRow) string { return r.Name })
	case "NETWORK":
		rows, _ := client.Networks(ctx)
		return namesOf(rows, func(r api.NetworkRow) string { return r.Name })
	case "HOST":
		rows, _ := client.Hosts(ctx)
		return namesOf(rows, func(r api.HostRow) string { return r.Name })
	case "FILE|NAME":
		rows, _ := client.Wishes(ctx)
		return namesOf(rows, func(r api.WishRow) string { return r.Name })
	case "NAME":
		if slices.Contains(a.path, "image") {
			rows, _ := client.Images(ctx)
			return namesOf(rows, func(r api.ImageRow) string { return r.Name })
		}
	}
	return nil
}

func namesOf[T any](rows []T, name func(T) string) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = clean(name(r))
	}
	return out
}

func completionCommand() *cli.Command {
	return &cli.Command{Name: "completion", Usage: "completion for your shell", ArgsUsage: "bash|zsh|fish", Action: completion}
}

func completion(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	script, ok := scripts[c.Args().First()]
	if !ok {
		return usagef("completion %s: want bash, zsh or fish", safe(c.Args().First()))
	}
	_, err := fmt.Fprint(envOf(c).stdout, script)
	return err
}

var scripts = map[string]string{
	"bash": `# rexctl: put this into ~/.bashrc:  source <(rexctl completion bash)
_rexctl() {
	local IFS=$'\n'
	COMPREPLY=($(rexctl __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _rexctl rexctl
`,
	"zsh": `#compdef rexctl
# rexctl: put this into ~/.zshrc:  source <(rexctl completion zsh)
_rexctl() {
	local -a found
	found=("${(@f)$(rexctl __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _rexctl rexctl
`,
	"fish": `# rexctl: rexctl completion fish > ~/.config/fish/completions/rexctl.fish
function __rexctl_complete
	set -l words (commandline -opc) (commandline -ct)
	rexctl __complete $words[2..-1] 2>/dev/null
end
complete -c rexctl -a '(__rexctl_complete)'
`,
}
