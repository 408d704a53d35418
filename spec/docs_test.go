package spec

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

var fence = regexp.MustCompile("(?ms)^```([a-z]+)( [a-z]+)?\n(.*?)^```$")

// docExamples returns the fenced examples of a reference page: language,
// what they are a part of (jail: inside of a jail block), and text.
func docExamples(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile("../docs/reference/" + name)
	if err != nil {
		t.Fatal(err)
	}
	found := fence.FindAllStringSubmatch(string(text), -1)
	if len(found) == 0 || strings.Count(string(text), "\n```") != 2*len(found) {
		t.Fatalf("%s: %d examples, %d fences", name, len(found), strings.Count(string(text), "\n```"))
	}
	return found
}

func TestEveryExampleOfTheReferenceIsValid(t *testing.T) {
	t.Parallel()
	in := testInputs(map[string]string{"nginx.rex": "BASE debian:bookworm\n", "worker.rex": "BASE debian:bookworm\n"})
	for _, page := range []string{"cluster-hcl.md", "rex.md"} {
		for _, e := range docExamples(t, page) {
			lang, part, text := e[1], strings.TrimSpace(e[2]), e[3]
			if part == "jail" {
				text = jailAround(text)
			}
			switch lang {
			case "hcl":
				if w, diags := Parse(page, []byte(text), in); w == nil {
					t.Errorf("%s\n%s", text, diags.Format(nil, false))
				}
			case "rex":
				if w, diags := ParseRexWish(page, []byte(text), in); w == nil {
					t.Errorf("%s\n%s", text, diags.Format(nil, false))
				}
			default:
				t.Errorf("%s: what is %q?", page, lang)
			}
			if part == "" {
				formatted, err := Format("x"+path.Ext("."+lang), []byte(e[3]))
				if err != nil || string(formatted) != e[3] {
					t.Errorf("%s: not formatted (%v), want:\n%s", page, err, formatted)
				}
			}
		}
	}
}

// jailAround makes a file of the inside of a jail block.
func jailAround(text string) string {
	network := "network = \"front\"\n"
	if strings.Contains(text, "nic {") {
		network = ""
	}
	return "network \"front\" { subnet = \"10.66.0.0/24\" }\nnetwork \"back\" { subnet = \"10.67.0.0/24\" }\n" +
		"image \"i\" { base = \"debian:bookworm\" }\njail \"j\" {\nimage = \"i\"\ncount = 2\n" + network + text + "}\n"
}

func TestReferenceNamesEveryAttributeAndFunction(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/reference/cluster-hcl.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for name := range functions {
		if !strings.Contains(page, "`"+name+"(") {
			t.Errorf("the function %s is missing", name)
		}
	}
	story, err := os.ReadFile("testdata/valid/cluster.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, everything, _ := strings.Cut(string(story), "parse cluster.hcl")
	_, everything, _ = strings.Cut(everything, "\n")
	everything, _, _ = strings.Cut(everything, "\n----")
	parsed, diags := hclsyntax.ParseConfig([]byte(everything), "cluster.hcl", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	names := make(map[string]bool)
	attributesOf(parsed.Body.(*hclsyntax.Body), names)
	for name := range names {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("the attribute %s is missing", name)
		}
	}
	if len(names) < 50 {
		t.Errorf("the story has only %d attributes", len(names))
	}
}

func attributesOf(body *hclsyntax.Body, names map[string]bool) {
	for name := range body.Attributes {
		names[name] = true
	}
	for _, b := range body.Blocks {
		if b.Type != "locals" {
			attributesOf(b.Body, names)
		}
	}
}

func TestReferenceNamesEveryVerb(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/reference/rex.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range rexVerbs() {
		if !strings.Contains(string(text), v.name) {
			t.Errorf("the verb %s is missing", v.name)
		}
	}
}
