package drvdiff

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// change is one edit of a tree, and the first difference that it makes.
type change struct {
	file, old, new string
	// where and what are the path and the name of the first difference.
	where, what string
	// a and b are its values; empty if the test does not compare them.
	a, b string
	// more is the number of other differences in the same derivation; -1 allows any, in other derivations too.
	more int
}

const (
	toLeaf       = "root → leaf-1.0"
	toTool       = "root → leaf-1.0 → tool-1.0"
	toFetched    = "root → leaf-1.0 → hello.tar"
	toStructured = "root → middle → structured"
)

var changes = map[string]change{
	"system of all":     {"", `system = "x86_64-linux"`, `system = "aarch64-linux"`, toTool, "system", `"x86_64-linux"`, `"aarch64-linux"`, -1},
	"system of one":     {"", `name = "tool-1.0";`, `name = "tool-1.0"; system = "aarch64-linux";`, toTool, "system", `"x86_64-linux"`, `"aarch64-linux"`, 0},
	"builder":           {"", `builder = "/bin/bash"`, `builder = "/bin/dash"`, toLeaf, "builder", `"/bin/bash"`, `"/bin/dash"`, 0},
	"argument":          {"", `"-e" "-c"`, `"-x" "-c"`, toLeaf, "arg 1", `"-e"`, `"-x"`, 0},
	"argument's line":   {"", `second\nthird`, `2nd\nthird`, toLeaf, "arg 3", `"second"`, `"2nd"`, 0},
	"argument more":     {"", `"-e" "-c"`, `"-e" "-x" "-c"`, toLeaf, "arg 2", `"-c"`, `"-x"`, 0},
	"argument less":     {"", `"first\nsecond\nthird\n"`, ``, toLeaf, "arg 3", `"first\nsecond\nthird\n"`, "not set", 0},
	"output more":       {"", `outputs = [ "out" "dev" ]`, `outputs = [ "out" "dev" "doc" ]`, toLeaf, "outputs", "dev out", "dev doc out", 0},
	"order of outputs":  {"", `outputs = [ "out" "dev" ]`, `outputs = [ "dev" "out" ]`, toLeaf, "env outputs", `"out dev"`, `"dev out"`, -1},
	"fixed hash":        {"", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", toFetched, "fixed-output hash", "flat sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "flat sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 0},
	"fixed mode":        {"", "outputHash =", `outputHashMode = "recursive"; outputHash =`, toFetched, "fixed-output hash", "flat sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "recursive sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", 0},
	"where from":        {"", "hello-1.tar", "hello-2.tar", toFetched, "env url", `"https://example.org/hello-1.tar"`, `"https://example.org/hello-2.tar"`, 0},
	"file of a source":  {"src/main.c", "int main;", "int n;", toLeaf, "input source src", "", "", 0},
	"text file":         {"", `"setup.sh" "echo"`, `"setup.sh" "echo -n"`, toLeaf, "input source setup.sh", "", "", 0},
	"other file":        {"", `"setup.sh"`, `"start.sh"`, toLeaf, "source added start.sh", "not set", "", 2},
	"variable":          {"", `"-O2 -g"`, `"-O3 -g"`, toLeaf, "env FLAGS", `"-O2 -g"`, `"-O3 -g"`, 0},
	"variable more":     {"", "FLAGS =", `extra = "\u001b[1m"; FLAGS =`, toLeaf, "env extra", "not set", `"u001b[1m"`, 0},
	"variable less":     {"", `FLAGS = "-O2 -g";`, "", toLeaf, "env FLAGS", `"-O2 -g"`, "not set", 0},
	"line of many":      {"", `make\nmake install`, `make -j1\nmake install`, toLeaf, "env script", `"make"`, `"make -j1"`, 0},
	"line more":         {"", `make install\n`, `make install\nmake check\n`, toLeaf, "env script", `""`, `"make check"`, 0},
	"line break at end": {"", `make install\n`, `make install`, toLeaf, "env script", `""`, "no such line", 0},
	"long value": {
		"", " here ", " hare ", toLeaf, "env long", `…"` + strings.Repeat("A", 38) + ` here ` + strings.Repeat("Z", 96) + `"…`,
		`…"` + strings.Repeat("A", 38) + ` hare ` + strings.Repeat("Z", 96) + `"…`, 0,
	},
	"control character": {"", `"-O2 -g"`, "\"-O2 \x1b[2J\u202e-g\"", toLeaf, "env FLAGS", `"-O2 -g"`, `"-O2 \x1b[2J\u202e-g"`, 0},
	"password": {
		"", "user:secret@", "user:hidden@", toLeaf, "env remote",
		"the same, but for credentials within a URL", "the same, but for credentials within a URL", 0,
	},
	"host behind password": {"", "secret@example.org", "secret@example.com", toLeaf, "env remote", `"https://example.org/"`, `"https://example.com/"`, 0},
	"input more":           {"", "[ tool fetched ]", "[ tool fetched spare ]", toLeaf, "input added spare", "not set", "", 1},
	"input less":           {"", "[ tool fetched ]", "[ fetched ]", toLeaf, "input removed tool-1.0", "", "not set", 1},
	"order of inputs":      {"", "[ tool fetched ]", "[ fetched tool ]", toLeaf, "env deps", "", "", 0},
	"version of an input":  {"", `name = "tool-1.0"`, `name = "tool-1.1"`, "root → leaf-1.0 → tool-1.0 | tool-1.1", "env name", `"tool-1.0"`, `"tool-1.1"`, 0},
	"outputs of an input":  {"", "deps = [ middle leaf.dev ]", "deps = [ middle leaf.out ]", "root", "input outputs leaf-1.0", "dev", "out", 1},
	"deep in attributes":   {"", `PATH = "/bin"`, `PATH = "/sbin"`, toStructured, "attribute env.PATH", `"/bin"`, `"/sbin"`, 0},
	"list in attributes":   {"", `[ "-a" "-b" ]`, `[ "-a" "-c" "-b" ]`, toStructured, "attribute flags[1]", `"-b"`, `"-c"`, 0},
	"end of a list":        {"", `[ "-a" "-b" ]`, `[ "-a" ]`, toStructured, "attribute flags[1]", `"-b"`, "not set", 0},
	"number in attributes": {"", "jobs = 4", `jobs = "4"`, toStructured, "attribute jobs", "4", `"4"`, 0},
	"attribute more":       {"", "jobs = 4;", `jobs = 4; meta = { a = [ 1 null ]; };`, toStructured, "attribute meta", "not set", `{"a":[1,null]}`, 0},
	"content-addressed":    {"", `__contentAddressed = true;`, `__contentAddressed = true; seed = 1;`, "root → middle → addressed", "env seed", "not set", `"1"`, 0},
	"twin":                 {"", "(twin 1) (twin 2)", "(twin 1) (twin 3)", "root → middle → twin", "env which", `"2"`, `"3"`, 0},
}

// Each change is found three levels down and reported first. Derivations that are built with it are not reported.
func TestChanges(t *testing.T) {
	store := newTestStore(t)
	trees := []map[string]string{leavesTree()}
	var order []string
	for name, c := range changes {
		tree := leavesTree()
		file := c.file
		if file == "" {
			file = "default.nix"
		}
		if !strings.Contains(tree[file], c.old) {
			t.Fatalf("%s: %s has no %q", name, file, c.old)
		}
		tree[file] = strings.Replace(tree[file], c.old, c.new, 1)
		trees, order = append(trees, tree), append(order, name)
	}
	roots := store.instantiate(t, trees...)
	for i, name := range order {
		t.Run(name, func(t *testing.T) {
			changes[name].check(t, mustDiff(t, Side{"a", roots[0], store.reader()}, Side{"b", roots[i+1], store.reader()}))
		})
	}
}

func (c change) check(t *testing.T, found []Difference) {
	t.Helper()
	if len(found) == 0 {
		t.Fatal("nothing found")
	}
	d := found[0]
	if d.Where() != c.where || d.What() != c.what || c.a != "" && d.A != c.a || c.b != "" && d.B != c.b {
		t.Errorf("found %v\nwant  %s: %s: %s ≠ %s", d, c.where, c.what, c.a, c.b)
	}
	if (c.what == "env url") != d.SameOutputs {
		t.Errorf("the same outputs are reported: %t", d.SameOutputs)
	}
	for _, other := range found[1:] {
		if c.more >= 0 && !cmp.Equal(other.Path, d.Path) {
			t.Errorf("and in another derivation: %v", other)
		}
	}
	if c.more >= 0 && len(found) != 1+c.more {
		t.Errorf("%d others, want %d:\n%v", len(found)-1, c.more, Report(found, "a", "b"))
	}
}

func mustDiff(t *testing.T, a, b Side) []Difference {
	t.Helper()
	found, err := Diff(t.Context(), a, b)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// An input is before the derivations that are built with it. A change that does not change outputs is last.
func TestOrderOfCauses(t *testing.T) {
	store := newTestStore(t)
	edit := strings.NewReplacer(
		`name = "middle";`, `name = "middle"; also = 1;`, `"-O2 -g"`, `"-O3 -g"`, "hello-1.tar", "hello-2.tar", `deps = [ middle`, `last = 1; deps = [ middle`,
		`version = "1.0"`, `version = "1.0.1"`,
	)
	tree := leavesTree()
	tree["default.nix"] = edit.Replace(tree["default.nix"])
	roots := store.instantiate(t, leavesTree(), tree)
	var got []string
	for _, d := range mustDiff(t, Side{"a", roots[0], store.reader()}, Side{"b", roots[1], store.reader()}) {
		got = append(got, d.Where()+": "+d.What())
	}
	want := []string{
		toTool + ": env version", toLeaf + ": env FLAGS", "root → middle: env also", "root: env last", toFetched + ": env url",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// A difference of a source lists the places that use it.
func TestUsesOfSource(t *testing.T) {
	store := newTestStore(t)
	tree := leavesTree()
	tree["src/main.c"] += "\n"
	roots := store.instantiate(t, leavesTree(), tree)
	found := mustDiff(t, Side{"a", roots[0], store.reader()}, Side{"b", roots[1], store.reader()})
	if len(found) != 1 || cmp.Diff(found[0].Uses, []string{"env src"}) != "" {
		t.Fatalf("found %+v", found)
	}
	for _, value := range []string{found[0].A, found[0].B} {
		if path, err := nix.ParseStorePath(value); err != nil || path.Name() != "src" {
			t.Errorf("the value is %q", value)
		}
	}
}

func TestSameTree(t *testing.T) {
	store, other := newTestStore(t), newTestStore(t)
	a, b := store.instantiate(t, leavesTree())[0], other.instantiate(t, leavesTree())[0]
	if found := mustDiff(t, Side{"a", a, store.reader()}, Side{"b", b, other.reader()}); a != b || len(found) > 0 {
		t.Errorf("%s and %s differ in %v", a, b, found)
	}
}

// If the sides are exchanged, so are the values of each difference.
func TestSymmetry(t *testing.T) {
	store := newTestStore(t)
	tree := leavesTree()
	tree["default.nix"] = strings.Replace(tree["default.nix"], `"-O2 -g"`, `"-O3 -g"`, 1)
	roots := store.instantiate(t, leavesTree(), tree)
	a, b := Side{"a", roots[0], store.reader()}, Side{"b", roots[1], store.reader()}
	there, back := mustDiff(t, a, b), mustDiff(t, b, a)
	for i := range back {
		d := &back[i]
		d.A, d.B, d.DrvA, d.DrvB = d.B, d.A, d.DrvB, d.DrvA
	}
	if d := cmp.Diff(there, back, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
}
