package rexcarcer_test

import (
	"strings"
	"testing"
)

// TestEveryPackageSaysWhatItIsFor wants one package comment per package, in
// its usual form: the first sentence is what `go doc` lists.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	comments, tested := map[string][]goFile{}, map[string]bool{}
	for _, f := range sources(t) {
		key := f.dir + " " + strings.TrimSuffix(f.ast.Name.Name, "_test")
		if f.test {
			tested[key] = true
		} else {
			tested[key] = tested[key] || false
		}
		if f.ast.Doc != nil && !(f.test && f.ast.Doc.Text() == "") {
			comments[key] = append(comments[key], f)
		}
	}
	for key := range tested {
		dir, name, _ := strings.Cut(key, " ")
		found := comments[key]
		if len(found) == 0 {
			t.Errorf("%s: package %s has no comment: say in doc.go what it is for, its laws and its flow", dir, name)
			continue
		}
		var documented []string
		for _, f := range found {
			if !f.test && !constrained(f) {
				documented = append(documented, f.name)
			}
			checkPackageComment(t, f, name)
		}
		if len(documented) > 1 {
			t.Errorf("%s: package %s has several comments, of which go doc prints all: %s", dir, name, strings.Join(documented, ", "))
		}
	}
}

// constrained reports whether f has a build constraint: such files take each
// other's place.
func constrained(f goFile) bool {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:build ") {
				return true
			}
		}
	}
	return false
}

func checkPackageComment(t *testing.T, f goFile, name string) {
	t.Helper()
	text := f.ast.Doc.Text()
	want := "Package " + f.ast.Name.Name + " "
	if name == "main" {
		want = "Command "
	}
	if !strings.HasPrefix(text, want) && !strings.HasPrefix(text, "Package "+name+" ") {
		t.Errorf("%s: the package comment begins with %.40q, want %q", f.at(f.ast.Package), text, want)
	}
	if first, _, ok := strings.Cut(text, "."); !ok || len(first) < len(want)+10 {
		t.Errorf("%s: the package comment has no first sentence that says something", f.at(f.ast.Package))
	}
}

// TestCorePackagesTellTheirLawsAndFlow is for those who begin to read: the
// packages of the architecture say more than a sentence.
func TestCorePackagesTellTheirLawsAndFlow(t *testing.T) {
	t.Parallel()
	told := map[string]bool{}
	for _, f := range sources(t) {
		if !f.test && f.ast.Doc != nil && strings.Contains(f.ast.Doc.Text(), "Laws:") && strings.Contains(f.ast.Doc.Text(), "Flow") {
			told[f.dir] = true
		}
	}
	for _, dir := range []string{"spec", "fsm", "plan", "scheduler", "jail", "netd", "zfssync", "pki", "cluster", "hostagent", "dnsd", "api"} {
		if !told[dir] {
			t.Errorf("%s/doc.go does not tell the package's laws and flow", dir)
		}
	}
}
