// Package rexcarcer_test holds the rules that no single package can keep:
// who may import whom, and what the pure core must not touch.
package rexcarcer_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/rexcarcer/rexcarcer/"

// A layer is one package with what it may import of ours, and why no more.
type layer struct {
	imports []string
	because string
}

var layers = map[string]layer{
	"spec": {nil, "the language stands on nothing: everything else stands on it"},
	"fsm":  {[]string{"spec"}, "what runs in Apply is for ever, so it may not depend on what changes"},
	"plan": {[]string{"fsm", "spec"}, "the core is pure, and siblings do not import each other"},
	"scheduler": {
		[]string{"fsm", "spec"},
		"policy reads State and proposes; it must not reach drivers, the log or the clock",
	},

	"jail":        {[]string{"internal/run"}, "drivers get whole wishes as plain values: they never see the State"},
	"netd":        {[]string{"internal/run"}, "drivers get whole wishes as plain values: they never see the State"},
	"netd/uplink": {nil, "it keeps a lease on one interface; which, and what goes by it, is told"},
	"netd/mesh":   {[]string{"internal/run"}, "it makes one device from a Config; routes to it are netd's"},
	"zfssync":     {[]string{"internal/run"}, "drivers get whole wishes as plain values: they never see the State"},
	"zfssync/bundle": {
		[]string{"zfssync"},
		"a format, and what is true of it: it fetches nothing and stores nothing",
	},
	"zfssync/source": {
		[]string{"zfssync", "zfssync/bundle", "internal/run"},
		"it brings bases here and checks them; who is trusted and what was here before it is told",
	},
	"pki": {nil, "keys and certificates are small enough to audit alone"},

	"zfssync/chunk": {nil, "cutting streams needs no store: bundles and transfers both stand on it"},
	"zfssync/transfer": {
		[]string{"zfssync", "zfssync/chunk", "internal/run", "internal/bulk"},
		"it moves what a Store holds between hosts; who may come, and which hosts there are, it is told",
	},

	"cluster":           {[]string{"cluster/raftlog", "fsm", "spec"}, "the log carries commands, whatever they mean"},
	"cluster/raftlog":   {nil, "it keeps what raft gives it, whatever that means"},
	"cluster/transport": {[]string{"pki", "internal/bulk"}, "the port knows who is there by certificates, and nothing of what is said"},
	"cluster/gossip":    {nil, "who is alive is seen without knowing what anybody does"},
	"cluster/join":      {[]string{"pki"}, "a token and a certificate: what the cluster thinks of them is asked through an interface"},
	"cluster/rpc":       {[]string{"cluster", "cluster/transport", "fsm", "spec", "pki"}, "it carries proposals between members, for the log alone"},
	"hostagent": {
		[]string{"fsm", "spec", "jail", "netd", "netd/mesh", "zfssync", "zfssync/bundle", "zfssync/source", "pki", "internal/run", "hostagent/build", "hostagent/proxy"},
		"only the agent touches drivers, and it proposes through an interface of its own",
	},
	"hostagent/build": {
		[]string{"spec", "jail", "zfssync", "zfssync/source", "internal/run"},
		"a build is jails and layers: it needs no State",
	},
	"hostagent/proxy": {nil, "it tells haproxy what the agent wants, and knows nothing else"},
	"dnsd":            {[]string{"fsm", "spec", "internal/seqpacket"}, "DNS answers from State and writes nothing"},
	"netsock": {
		[]string{"fsm", "spec", "internal/seqpacket"},
		"it answers jails from the State; what they ask for it proposes through an interface of its own",
	},
	"syslogd": {nil, "it takes and cuts messages; whose they are it is told"},
	"dhcpd":   {[]string{"fsm", "spec"}, "DHCP answers from State and proposes leases"},
	"api":     {[]string{"fsm", "spec"}, "siblings do not import each other: what api needs of them are interfaces of its own"},

	"api/apitest": {[]string{"api", "fsm", "spec"}, "it plays the cluster for tests of the API and of rexctl: the real Apply, nothing else real"},

	"internal/bulk":        {nil, "it lies below TLS on both ends of the cluster's port, and knows bytes only"},
	"internal/run":         {nil, "everybody may use it, so it uses nobody"},
	"internal/seqpacket":   {nil, "dnsd and netsock speak on sockets of one kind, and it knows nothing of what is said"},
	"internal/testenv":     {nil, "everybody's tests use it"},
	"internal/deps":        {nil, "it only pins modules"},
	"zfssync/storetest":    {[]string{"zfssync", "internal/testenv"}, "every driver passes the same tests"},
	"internal/zfstest":     {[]string{"internal/run", "internal/testenv"}, "tests of the storage driver, of transfers and of the daemon share one zfs-fuse"},
	"internal/stage":       {[]string{"fsm", "spec"}, "it sets the scene for tests of the core"},
	"internal/freebsdtest": {[]string{"internal/run"}, "it plays a FreeBSD host for the tests of the drivers, and needs only what they start programs with"},
	"internal/sim":         {[]string{"spec", "fsm", "plan", "scheduler", "jail", "netd", "zfssync", "pki", "hostagent"}, "it plays a cluster without the shell"},

	"cmd/rexcarcer": {
		[]string{
			"cluster", "cluster/transport", "cluster/gossip", "cluster/join", "cluster/rpc", "hostagent", "hostagent/build", "dnsd", "dhcpd", "syslogd", "netsock", "api", "pki", "scheduler", "plan", "fsm", "spec",
			"jail", "netd", "netd/mesh", "netd/uplink", "zfssync", "zfssync/bundle", "internal/run", "zfssync/transfer",
		},
		"it wires: it makes each part and hands it to the others",
	},
	"cmd/rexctl": {
		[]string{"api", "spec", "plan", "fsm", "zfssync", "zfssync/bundle"},
		"the command line talks to the API; it packs COPY content as zfssync unpacks it, and shares nothing else with a host",
	},
}

// core are the packages without any I/O (architecture.md, law 2).
var core = []string{"spec", "fsm", "plan", "scheduler"}

// banned imports of the core, with what they would let in. A path that ends
// with / means all below it.
var banned = []struct{ path, because string }{
	{"os", "environment and files differ between hosts: hand their content in as a value"},
	{"os/", "processes, signals and users are I/O"},
	{"io/fs", "files are read by whoever calls"},
	{"io/ioutil", "files are read by whoever calls"},
	{"path/filepath", "its rules depend on the operating system: use path"},
	{"net", "the network answers differently every time (net/netip is fine)"},
	{"net/", "the network answers differently every time (net/netip is fine)"},
	{"syscall", "system calls are I/O"},
	{"golang.org/x/sys/", "system calls are I/O"},
	{"math/rand", "replicas would draw different numbers: derive from the index"},
	{"math/rand/", "replicas would draw different numbers: derive from the index"},
	{"crypto/rand", "replicas would draw different numbers: derive from the index"},
	{"log", "return events and errors: the shell logs"},
	{"log/", "return events and errors: the shell logs"},
	{"sync", "values are immutable: there is nothing to lock"},
	{"sync/", "values are immutable: there is nothing to share"},
	{"context", "nothing in the core blocks"},
	{"runtime", "the machine must not show in a result"},
	{"runtime/", "the machine must not show in a result"},
	{"unsafe", "addresses differ between hosts"},
	{"flag", "configuration is an argument"},
	{"plugin", "code must be the same on every host"},
}

// clock are the names of package time that read or await the clock.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local", "LoadLocation"}

type goFile struct {
	name string // slashes, from the root of the repository
	dir  string
	test bool
	ast  *ast.File
	fset *token.FileSet
}

func (f goFile) at(p token.Pos) string {
	return fmt.Sprintf("%s:%d", f.name, f.fset.Position(p).Line)
}

// sources parses all Go files of the repository, whatever their build tags.
func sources(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && p != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(p)
		files = append(files, goFile{name, path.Dir(name), strings.HasSuffix(base, "_test.go"), parsed, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func imports(f goFile) map[string]token.Pos {
	all := make(map[string]token.Pos)
	for _, i := range f.ast.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			all[p] = i.Pos()
		}
	}
	return all
}

func TestPackagesImportOnlyWhatTheirLayerMay(t *testing.T) {
	t.Parallel()
	told := make(map[string]bool)
	for _, f := range sources(t) {
		if f.test || f.dir == "." || strings.HasPrefix(f.dir, "test/") || strings.HasPrefix(f.dir, "scripts/") || strings.HasPrefix(f.dir, "examples/") {
			continue
		}
		l, known := layers[f.dir]
		if !known && told[f.dir] {
			continue
		}
		if !known {
			told[f.dir] = true
			t.Errorf("%s: package %s is not in the architecture: say in layers (arch_test.go) and docs/design what it is and may import", f.name, f.dir)
			continue
		}
		for p, pos := range imports(f) {
			ours, ok := strings.CutPrefix(p, module)
			if !ok || ours == f.dir || slices.Contains(l.imports, ours) {
				continue
			}
			t.Errorf("%s: %s must not import %s: %s", f.at(pos), f.dir, ours, l.because)
		}
	}
}

func TestOnlyInternalRunStartsProcesses(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.test || f.dir == "internal/run" || f.dir == "internal/testenv" || strings.HasPrefix(f.dir, "test/") {
			continue
		}
		if pos, ok := imports(f)["os/exec"]; ok {
			t.Errorf("%s: %s must not import os/exec: processes start in internal/run, with a deadline, a clean environment and their output in the error", f.at(pos), f.dir)
		}
	}
}

func TestCoreDoesNoIO(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		if f.test || !slices.Contains(core, f.dir) {
			continue
		}
		for p, pos := range imports(f) {
			if because := ban(p); because != "" {
				t.Errorf("%s: %s must not import %s: %s", f.at(pos), f.dir, p, because)
			}
		}
		checkBody(t, f)
	}
}

func ban(p string) string {
	if p == "net/netip" {
		return ""
	}
	for _, b := range banned {
		if p == b.path || strings.HasSuffix(b.path, "/") && strings.HasPrefix(p, b.path) {
			return b.because
		}
	}
	return ""
}

// checkBody looks for what no import shows: the clock behind package time,
// goroutines, channels, init and printing.
func checkBody(t *testing.T, f goFile) {
	t.Helper()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			t.Errorf("%s: %s must not start goroutines: the same input must give the same output", f.at(n.Pos()), f.dir)
		case *ast.SelectStmt, *ast.ChanType:
			t.Errorf("%s: %s must not use channels: the same input must give the same output", f.at(n.Pos()), f.dir)
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && pkg.Obj == nil && slices.Contains(clock, n.Sel.Name) {
				t.Errorf("%s: %s must not use time.%s: now is an argument, Entry.At in fsm", f.at(n.Pos()), f.dir, n.Sel.Name)
			}
		case *ast.CallExpr:
			if fn, ok := n.Fun.(*ast.Ident); ok && fn.Obj == nil && (fn.Name == "print" || fn.Name == "println") {
				t.Errorf("%s: %s must not print", f.at(n.Pos()), f.dir)
			}
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				t.Errorf("%s: %s must not have init: list things where they are used", f.at(n.Pos()), f.dir)
			}
		}
		return true
	})
}
