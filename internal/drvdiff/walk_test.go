package drvdiff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// written are derivations that a test has made, at the paths that Nix would give them.
type written struct {
	Texts
	reads int
}

func (w *written) Derivation(ctx context.Context, path nix.StorePath) ([]byte, error) {
	w.reads++
	return w.Texts.Derivation(ctx, path)
}

// add writes a derivation with an output "out", and returns its path.
func (w *written) add(t testing.TB, name string, env map[string]string, inputs ...nix.StorePath) nix.StorePath {
	t.Helper()
	d := &derivation{System: "x86_64-linux", Builder: "/bin/sh", Env: map[string]string{"name": name}}
	maps.Copy(d.Env, env)
	for _, in := range nix.SortedPaths(inputs) {
		d.Inputs = append(d.Inputs, input{in, []string{"out"}})
	}
	for _, in := range inputs {
		input, err := parse(w.Texts[in])
		if err != nil {
			t.Fatal(err)
		}
		d.Env["inputs"] += " " + string(input.Outputs[0].Path)
	}
	// The digest of the output can be any that depends on the whole text.
	d.Outputs = []output{{Name: "out", Path: objectPath(t, write(d), name)}}
	d.Env["out"] = string(d.Outputs[0].Path)
	text := write(d)
	path := addressOf(t, d, text, name+".drv")
	w.Texts[path] = []byte(text)
	return path
}

// addressOf gets the right path from the error of verify for a wrong one.
func addressOf(t testing.TB, d *derivation, text, name string) nix.StorePath {
	t.Helper()
	err := d.verify(objectPath(t, "", name), []byte(text))
	if err == nil {
		t.Fatal("a wrong path is accepted")
	}
	words := strings.Fields(err.Error())
	path, err := nix.ParseStorePath(string(nix.StoreDir) + "/" + words[len(words)-1])
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func objectPath(t testing.TB, seed, name string) nix.StorePath {
	t.Helper()
	var digest [20]byte
	for i := range len(seed) {
		digest[i%20] = digest[i%20]*31 + seed[i]
	}
	path, err := nix.ParseStorePath(string(nix.StoreDir) + "/" + nixbase32.EncodeToString(digest[:]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// diamond is layers of two derivations each, both of which use both of the layer below: 2^layers ways to the bottom.
func diamond(t testing.TB, w *written, layers int, flags string) nix.StorePath {
	bottom := w.add(t, "bottom", map[string]string{"FLAGS": flags})
	left, right := bottom, bottom
	for i := range layers {
		left, right = w.add(t, fmt.Sprintf("left-a%d", i), nil, left, right), w.add(t, fmt.Sprintf("right-a%d", i), nil, right, left)
	}
	return w.add(t, "top", nil, left, right)
}

func TestDiamond(t *testing.T) {
	const layers = 500
	a, b := &written{Texts: Texts{}}, &written{Texts: Texts{}}
	found := mustDiff(t, Side{"a", diamond(t, a, layers, "-O2"), a}, Side{"b", diamond(t, b, layers, "-O3"), b})
	if len(found) != 1 || found[0].What() != "env FLAGS" || len(found[0].Path) != layers+2 {
		t.Errorf("found %v", found)
	}
	if want := "top → left-a499 → (496 more) → left-a2 → left-a1 → left-a0 → bottom"; len(found) > 0 && found[0].Where() != want {
		t.Errorf("where is %q, want %q", found[0].Where(), want)
	}
	if most := len(a.Texts); a.reads > most || b.reads > most {
		t.Errorf("%d and %d reads of %d derivations", a.reads, b.reads, most)
	}
}

// A derivation above a missing one is compared. It is not reported as the cause.
func TestMissing(t *testing.T) {
	w := &written{Texts: Texts{}}
	tree := func(flags, also string) (root, leaf nix.StorePath) {
		leaf = w.add(t, "leaf", map[string]string{"FLAGS": flags})
		middle := w.add(t, "middle", map[string]string{"also": also}, leaf)
		return w.add(t, "root", nil, middle), leaf
	}
	rootA, _ := tree("-O2", "x")
	rootB, leafB := tree("-O3", "x")
	rootC, leafC := tree("-O4", "y")
	without := func(paths ...nix.StorePath) Texts {
		texts := maps.Clone(w.Texts)
		for _, path := range paths {
			delete(texts, path)
		}
		return texts
	}
	here := Side{"here", rootA, w}
	for name, test := range map[string]struct {
		b    Side
		want string
	}{
		"a leaf": {Side{"there", rootB, without(leafB)}, "root → middle → leaf: not known"},
		"a leaf, below another cause": {
			Side{"there", rootC, without(leafC)}, "root → middle: env also; root → middle → leaf: not known",
		},
		"root":      {Side{"there", rootB, without(rootB)}, "root: not known"},
		"no reader": {Side{"there", rootB, nil}, "root: not known"},
		"no store":  {Side{"there", rootB, Store(t.TempDir() + "/none")}, "root: not known"},
	} {
		t.Run(name, func(t *testing.T) {
			found := mustDiff(t, here, test.b)
			var got []string
			for _, d := range found {
				got = append(got, d.Where()+": "+d.What())
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("found %q, want %q", got, test.want)
			}
			if last := found[len(found)-1]; last.Kind != Missing || last.A != string(last.DrvA) || last.B != notHere {
				t.Errorf("%+v", last)
			}
			if text := Report(found, "a", "b"); !strings.Contains(text, "its derivation is not here") {
				t.Errorf("the report does not say that the derivation is missing:\n%s", text)
			}
		})
	}
}

// Two versions of Nix can compute different output paths for the same text.
func TestOutputPath(t *testing.T) {
	w := &written{Texts: Texts{}}
	var paths []nix.StorePath
	for _, seed := range []string{"x", "y"} {
		out := objectPath(t, seed, "leaf")
		d := &derivation{Outputs: []output{{Name: "out", Path: out}}, Env: map[string]string{"out": string(out)}}
		path := addressOf(t, d, write(d), "leaf.drv")
		w.Texts[path] = []byte(write(d))
		paths = append(paths, path)
	}
	found := mustDiff(t, Side{"a", paths[0], w}, Side{"b", paths[1], w})
	if len(found) != 1 || found[0].What() != "output path out" || found[0].A != string(objectPath(t, "x", "leaf")) {
		t.Errorf("found %v", found)
	}
}

func TestRefuses(t *testing.T) {
	w := &written{Texts: Texts{}}
	a, b := w.add(t, "leaf", nil), w.add(t, "leaf", map[string]string{"x": "1"})
	with := func(path nix.StorePath, text string) Texts {
		texts := maps.Clone(w.Texts)
		texts[path] = []byte(text)
		return texts
	}
	cyclic := func(path nix.StorePath) string {
		return write(&derivation{Outputs: []output{{Name: "out"}}, Inputs: []input{{path, []string{"out"}}}})
	}
	broken := errors.New("the disk is on fire")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, test := range map[string]struct {
		ctx  context.Context
		b    Side
		says string
		is   error
	}{
		"derivation that is its own input": {t.Context(), Side{"there", b, with(b, cyclic(b))}, "its text does not match its path", nil},
		"edited derivation":                {t.Context(), Side{"there", b, with(b, string(w.Texts[a]))}, "its text does not match its path", nil},
		"no derivation":                    {t.Context(), Side{"there", b, with(b, "nix-archive-1")}, "parse derivation: at byte 0", nil},
		"dynamic derivation":               {t.Context(), Side{"there", b, with(b, `DrvWithVersion("xp-dyn-drv",[])`)}, "dynamic-derivations", nil},
		"output for a root":                {t.Context(), Side{"there", objectPath(t, "x", "leaf"), w}, "does not end in .drv", nil},
		"reader that fails":                {t.Context(), Side{"there", b, failing{broken}}, "(there): the disk is on fire", broken},
		"interrupted":                      {stopped, Side{"there", b, w}, "", context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Diff(test.ctx, Side{"here", a, w}, test.b)
			if err == nil || !strings.Contains(err.Error(), test.says) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("the error is %v, want %q", err, test.says)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Derivation(context.Context, nix.StorePath) ([]byte, error) { return nil, f.err }

// Two trees as large as that of a desktop. All derivations differ, because one at the bottom does.
func BenchmarkDiff(b *testing.B) {
	const derivations, inputs = 10_000, 10
	w := &written{Texts: Texts{}}
	script := strings.Repeat("echo building; make -j1\n", 200)
	tree := func(flags string) nix.StorePath {
		made := []nix.StorePath{w.add(b, "bottom", map[string]string{"FLAGS": flags})}
		for i := range derivations {
			var in []nix.StorePath
			for k := range inputs {
				in = append(in, made[max(0, len(made)-1-k*k)])
			}
			made = append(made, w.add(b, fmt.Sprintf("package-%d", i), map[string]string{"script": script}, slices.Compact(in)...))
		}
		return made[len(made)-1]
	}
	one, other := Side{"a", tree("-O2"), w}, Side{"b", tree("-O3"), w}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := Diff(b.Context(), one, other); err != nil || len(found) != 1 {
			b.Fatal(len(found), err)
		}
	}
}

// FuzzCompare looks for derivations that crash a comparison, or whose values cannot be printed on one line.
func FuzzCompare(f *testing.F) {
	texts := []string{ordinaryText, fixedText, structuredText, addressedText}
	for _, text := range texts {
		f.Add(text, text)
		f.Add(text, strings.NewReplacer("leaf", "tree", "x86_64", "aarch64", "e3b0", "0b3e", ":1,", ":[\"\\u0000\\u001b[2J\"],").Replace(text))
		f.Add(text, ordinaryText)
	}
	f.Fuzz(func(t *testing.T, textA, textB string) {
		a, err := parse([]byte(textA))
		if err != nil {
			return
		}
		b, err := parse([]byte(textB))
		if err != nil {
			return
		}
		compare := func(a, b *derivation) ([]Difference, []pair) {
			c := newComparison(newTree(Side{}), newTree(Side{}), a, b)
			if err := c.compare(t.Context()); err != nil {
				t.Fatal(err)
			}
			return c.own, c.inputs
		}
		found, inputs := compare(a, b)
		if textA != textB && len(found) == 0 && len(inputs) == 0 {
			t.Error("nothing found")
		}
		for _, d := range found {
			text := d.String()
			if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 4096 {
				t.Errorf("%q", text)
			}
		}
		if same, _ := compare(a, a); len(same) > 0 {
			t.Errorf("differs from itself: %v", same)
		}
	})
}
