package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// leaves are the commands that do something, with their whole names.
func leaves(list []*cli.Command, path string) []*cli.Command {
	var out []*cli.Command
	for _, c := range list {
		if len(c.Subcommands) > 0 {
			out = append(out, leaves(c.Subcommands, path+" "+c.Name)...)
			continue
		}
		out = append(out, c)
	}
	return out
}

func wholeName(c *cli.Command) string {
	line, _, _ := strings.Cut(c.UsageText, "\n")
	name, _, _ := strings.Cut(line, " [flags]")
	return name
}

// TestEveryCommandHasHelpWithAnExample: `rexctl X --help` exits 0 and shows how.
func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range leaves(commandsOf(), "rexctl") {
		name := wholeName(c)
		seen[name] = true
		if examples[name] == "" {
			t.Errorf("%s has no example", name)
		}
		var out, errOut bytes.Buffer
		e := &env{stdin: strings.NewReader(""), stdout: &out, stderr: &errOut, getenv: func(string) string { return "" }}
		code := run(t.Context(), append(strings.Fields(name), "--help"), e)
		if code != 0 || !strings.Contains(out.String(), "EXAMPLE:") || !strings.Contains(out.String(), c.Usage) {
			t.Errorf("%s --help: exit code %d:\n%s%s", name, code, &out, &errOut)
		}
	}
	for name := range examples {
		if !seen[name] {
			t.Errorf("there is an example of %s, but no such command", name)
		}
	}
}

func commandsOf() []*cli.Command {
	return newApp(&env{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }}).Commands
}

// TestReferenceIsWhatHelpSays: docs/reference/rexctl.md is made from the
// commands; `make golden` writes it.
func TestReferenceIsWhatHelpSays(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/rexctl.md"
	want := reference()
	if *rewrite {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what rexctl --help says: run `make golden` and look at the diff", file)
	}
}

const referenceHead = `# rexctl

<!-- Made from the commands by a test: change cmd/rexctl, then run make golden. -->

rexctl speaks to a RexCarcer daemon: the local one at
/var/run/rexcarcer/rexcarcer.sock, or that of --addr, REX_ADDR or a context.
The local socket needs no credentials; https:// wants REX_CACERT,
REX_CLIENT_CERT and REX_CLIENT_KEY.

Flags may stand anywhere before "--". Tables and documents go to stdout;
progress, hints and questions to stderr. What destroys asks; without a terminal
it wants --yes. A jail is named by its name, an unambiguous beginning of it or
the beginning of its uuid. Colour is used on terminals only, and not with
NO_COLOR.

| exit code | meaning |
|---|---|
| 0 | done, or no change |
| 1 | error |
| 2 | plan --exit-code: there are changes |
| 3 | not all came up in time, or you detached |
| 4 | conflict: the cluster has changed since the plan |
| 64 | usage |

exec and console end with the code of the command that ran in the jail, and
with 130 when you ended them.

The apply of a file: parse it here (.rex files are found from the file), ask the
daemon for the plan, build the images that no host has, then commit the wish at
the plan's index and wait. A build that fails leaves the cluster as it was.

`

func reference() []byte {
	var b bytes.Buffer
	b.WriteString(referenceHead)
	b.WriteString("## Flags of every command\n\n")
	flags(&b, commonFlags())
	common := map[string]string{} // usage by name: a command may have a flag of its own by that name
	for _, f := range commonFlags() {
		common[f.Names()[0]] = f.(cli.DocGenerationFlag).GetUsage()
	}
	for _, c := range leaves(commandsOf(), "rexctl") {
		name := wholeName(c)
		line, _, _ := strings.Cut(c.UsageText, "\n")
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n    %s\n", name, strings.ToUpper(c.Usage[:1])+c.Usage[1:], line)
		var own []cli.Flag
		for _, f := range c.Flags {
			if n := f.Names()[0]; common[n] != f.(cli.DocGenerationFlag).GetUsage() && n != "help" {
				own = append(own, f)
			}
		}
		if len(own) > 0 {
			b.WriteString("\n")
			flags(&b, own)
		}
		fmt.Fprintf(&b, "\nExample: `%s`\n", examples[name])
	}
	return b.Bytes()
}

func flags(b *bytes.Buffer, list []cli.Flag) {
	for _, f := range list {
		doc := f.(cli.DocGenerationFlag)
		var names []string
		for _, n := range f.Names() {
			dash := "--"
			if len(n) == 1 {
				dash = "-"
			}
			names = append(names, "`"+dash+n+"`")
		}
		text := strings.ReplaceAll(doc.GetUsage(), "`", "")
		if v := strings.Trim(doc.GetDefaultText(), `"`); v != "" && v != "false" && v != "0" && v != "-1" {
			text += " (default " + v + ")"
		}
		fmt.Fprintf(b, "- %s: %s\n", strings.Join(names, ", "), text)
	}
}
