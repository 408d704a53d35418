package spec

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add(contractFile)
	for _, text := range hostileTexts {
		if len(text) < 400_000 {
			f.Add(text[:min(len(text), 2000)])
		}
	}
	for _, v := range hostileValues {
		f.Add("locals {\n a = " + v[:min(len(v), 300)] + "\n}\n")
	}
	f.Add("variable \"a\" {}\nlocals {\n  b = [for k, v in { x = 1 } : \"${k}%{if true}${v}%{endif}\"]\n}\n")
	f.Add("jail \"a\" {\n  env = <<E\nx ${self.name}\nE\n}\n")
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<16 {
			return
		}
		d := newDecoder("f.hcl", []byte(src), testInputs(contractRex))
		d.budget.left = 50_000 // the fuzzer gives up on what takes seconds
		w, diags := d.parse()
		if (w == nil) != diags.HasErrors() {
			t.Fatalf("wish %v, diagnostics %v", w, diags)
		}
		diags.Format([]byte(src), true)
		if w == nil {
			return
		}
		if err := w.Validate(); err != nil {
			t.Fatalf("Validate disagrees with Parse: %v", err)
		}
		if err := w.VerifyKeys(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzFormatHCL(f *testing.F) {
	f.Add(contractFile)
	f.Add("a=1\r\nbb =  2 # x\n")
	f.Add("a {\nb=[\n1,\n 2]}\n/* x */ c = <<-E\n  x\n  E\n")
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<14 {
			return
		}
		once, err := Format("f.hcl", []byte(src))
		if err != nil {
			return
		}
		if twice, err := Format("f.hcl", once); err != nil || string(once) != string(twice) {
			t.Fatalf("once %q twice %q: %v", once, twice, err)
		}
	})
}

func FuzzRex(f *testing.F) {
	for _, text := range contractRex {
		f.Add([]byte(text))
	}
	f.Add([]byte("BASE a\nRUN x \\\n # y\n z\nENV A='b' C=\"d\\\"e\"\nCMD [\"a\"]\nSERVICE a PORT 1/udp\nIP 10.0.0.5/24\nHOSTNAME a.b\nSTART_SSH"))
	f.Add([]byte("base a\n\\\n\\\n"))
	f.Add([]byte("base a\n\n \\"))
	f.Add([]byte("FROM a\nRUN \\\\\nRUN b\\"))
	f.Add([]byte("FROM a\r\nCOPY a\tb /c/ # d\r\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		in := testInputs(nil)
		m, diags := ParseRex("f.rex", src, in)
		if (m == nil) != diags.HasErrors() {
			t.Fatalf("image %v, diagnostics %v", m, diags)
		}
		diags.Format(src, false)
		if w, _ := ParseRexWish("f.rex", src, in); w != nil {
			if err := w.Validate(); err != nil {
				t.Fatalf("Validate disagrees with ParseRexWish: %v", err)
			}
		}
		checkRexFormat(t, src)
	})
}

func FuzzValidate(f *testing.F) {
	w, _ := Parse("cluster.hcl", []byte(contractFile), testInputs(contractRex))
	text, err := json.Marshal(w)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"name":"a","jails":[{"name":"a","group":"a","replicas":1,"image":"i","nics":[{"network":"n","addr":"10.0.0.5"}]}]}`))
	f.Add([]byte(`{"name":"a","networks":[{"name":"n","subnet":"10.0.0.0/8"},{"name":"n","subnet":""}],"images":[{"name":"a","base":"b"},{"name":"b","base":"a"}]}`))
	f.Add([]byte(`{"name":"a","jails":[{"name":"a","group":"a","replicas":1,"depends_on":["a"]}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var w Wish
		if json.Unmarshal(text, &w) != nil {
			return
		}
		_ = w.Validate()
		w.Normalize()
		if w.Validate() != nil {
			return
		}
		for i := range w.Jails {
			if j := &w.Jails[i]; strings.Trim(j.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				t.Fatalf("the name %q got through", j.Name)
			}
		}
		once, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		w.Normalize()
		if twice, _ := json.Marshal(w); string(once) != string(twice) {
			t.Fatal("Normalize is not idempotent")
		}
		w.Unresolved()
		_ = w.VerifyKeys()
	})
}

func FuzzConstraint(f *testing.F) {
	f.Add("os == freebsd && (label.rack != r1 or not ssd)")
	f.Add("arch in [amd64, arm64] * -3")
	f.Add(`host =~ "^db-" and cpu >= 4`)
	f.Add(strings.Repeat("(", 100))
	f.Add(strings.Repeat("!", 100) + "a")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAffinity(s)
		if err != nil {
			return
		}
		a.Eval(func(string) (string, bool) { return "4", true })
		again, err := ParseConstraint(a.String())
		if err != nil || strings.Join(again.Keys(), " ") != strings.Join(a.Keys(), " ") {
			t.Fatalf("%q is written %q: %v", s, a, err)
		}
	})
}

// A supervisor file and the cluster file that it becomes are the same wish.
func FuzzINI(f *testing.F) {
	f.Add("[vessel-supervisor]\nimage=web\ncommand=sh -c 'a \"b\"'\nrestart=true\n[network:lab]\naddress=10.1.0.9/24\npublish=80:80\n[dataset:d]\nmount=/d\n[jail]\nhost.hostname=\"x\"\n")
	f.Add("[network:a]\ntype=bridge ; x\n[network:b]\nsubnet=10.2.0.0/16\n")
	f.Add("[resource:a]\nrctl=\"pcpu:deny=50\"\n[cpuset]\nlist=0-2\n#\n[vessel-supervisor]\nrepository=/x\nimage=y\n")
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<14 {
			return
		}
		in := Inputs{Images: []string{"web"}}
		w, diags := ParseINI("f.ini", []byte(src), in)
		if (w == nil) != diags.HasErrors() {
			t.Fatalf("wish %v, diagnostics %v", w, diags)
		}
		diags.Format([]byte(src), true)
		if w == nil {
			return
		}
		text, diags := ConvertINI("f.ini", []byte(src), in)
		if diags.HasErrors() {
			t.Fatalf("it parses, but does not convert: %v", diags)
		}
		again, diags := Parse("f.ini", text, in)
		if again == nil {
			t.Fatalf("what it becomes does not parse: %v\n%s", diags, text)
		}
		a, _ := json.Marshal(w)
		b, _ := json.Marshal(again)
		if string(a) != string(b) {
			t.Fatalf("not the same wish:\n%s\n%s", a, b)
		}
	})
}
