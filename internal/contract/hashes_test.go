package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	fooHash = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2DY="
	barHash = "sha256-DqJMushKFJI+NNdKcV8oFSnFtEKMukiyMW/AnNXsqIA="
	fooKey  = "git+https://example.org/foo?branch=main#1111111111111111111111111111111111111111"
	barKey  = "git+https://example.org/bar#2222222222222222222222222222222222222222"
)

// twoLock is a Cargo.lock with two git dependencies.
const twoLock = `version = 4
[[package]]
name = "app"
version = "0.1.0"

[[package]]
name = "foo"
version = "0.1.0"
source = "` + fooKey + `"

[[package]]
name = "bar"
version = "0.2.0"
source = "` + barKey + `"
`

// table is a lock file with both hashes, in the ordinary form.
const table = `{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = "` + fooHash + `"; "bar-0.2.0" = "` + barHash + `"; }; }`

// checkHashes returns the results for one file's hashes that did not pass, in the form "values FAIL: reason".
func checkHashes(t *testing.T, text string) []string {
	t.Helper()
	tree := t.TempDir()
	write(t, filepath.Join(tree, "Cargo.lock"), twoLock)
	write(t, filepath.Join(tree, "a.nix"), strings.NewReplacer("FOO", `"`+fooHash+`"`, "BAR", `"`+barHash+`"`).Replace(text))
	var found []string
	for _, r := range named("hashes", (&Hashes{Lock: "Cargo.lock", Files: []string{"a.nix"}}).check(tree)) {
		if r.Status == Pass && r.Reason != "" {
			t.Errorf("%+v: want no reason", r)
		}
		if r.Status != Pass {
			name := strings.TrimPrefix(strings.TrimPrefix(r.Check, "hashes/"), "a.nix/")
			found = append(found, name+" "+string(r.Status)+": "+r.Reason)
		}
	}
	return found
}

// Flakes write their hashes in these forms. All of them pass.
func TestHashesInManyForms(t *testing.T) {
	const entries = `"foo-0.1.0" = FOO; "bar-0.2.0" = BAR;`
	for name, text := range map[string]string{
		"a table":                 `{ cargoLock = { lockFile = ./Cargo.lock; outputHashes = { ` + entries + ` }; }; }`,
		"entries with a path":     `{ cargoLock = { lockFile = ./Cargo.lock; outputHashes."foo-0.1.0" = FOO; outputHashes."bar-0.2.0" = BAR; }; }`,
		"longer paths":            `{ cargoLock.lockFile = ./Cargo.lock; cargoLock.outputHashes."foo-0.1.0" = FOO; cargoLock.outputHashes."bar-0.2.0" = BAR; }`,
		"a path to the table":     `{ cargoLock.lockFile = ./Cargo.lock; cargoLock.outputHashes = { ` + entries + ` }; }`,
		"a set and a path":        `{ cargoLock = { lockFile = ./Cargo.lock; }; cargoLock.outputHashes = { ` + entries + ` }; }`,
		"a table and a path":      `{ cargoLock = { lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = FOO; }; outputHashes."bar-0.2.0" = BAR; }; }`,
		"quoted names":            `{ "cargoLock" = { "lockFile" = ./Cargo.lock; "outputHashes" = { ` + entries + ` }; }; }`,
		"a quoted path":           `{ cargoLock.lockFile = ./Cargo.lock; cargoLock."outputHashes"."foo-0.1.0" = FOO; "cargoLock".outputHashes."bar-0.2.0" = BAR; }`,
		"no padding":              strings.ReplaceAll(`{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = FOO; "bar-0.2.0" = "`+barHash+`"; }; }`, "=\"", "\""),
		"other hashes":            `{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = "066a85f547d9f785b7cedc1deecac0499d4b6756cfc6b2390b3c4a7b10ddd836"; "bar-0.2.0" = BAR; }; }`,
		"parentheses":             `{ lockFile = ./Cargo.lock; outputHashes = ({ "foo-0.1.0" = (FOO); "bar-0.2.0" = BAR; }); }`,
		"a recursive set":         `{ lockFile = ./Cargo.lock; outputHashes = rec { ` + entries + ` }; }`,
		"an indented string":      `{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = ''` + fooHash + `''; "bar-0.2.0" = BAR; }; }`,
		"comments":                "{ lockFile = ./Cargo.lock; # outputHashes = lib.fakeHash;\n outputHashes /* of git */ = # here\n { \"foo-0.1.0\" # foo\n = /* sha */ FOO; /* \"x\" = 1; */ \"bar-0.2.0\" = BAR; }; }",
		"two sets merged":         `{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = BAR; } // { ` + entries + ` }; }`,
		"nothing merged":          `{ lockFile = ./Cargo.lock; outputHashes = { }//{ ` + entries + ` }; }`,
		"a let before":            `let outputHashes = { ` + entries + ` }; in { cargoLock = { lockFile = ./Cargo.lock; inherit outputHashes; }; }`,
		"a let with another name": `let gitHashes = { ` + entries + ` }; in { cargoLock = { lockFile = ./Cargo.lock; outputHashes = gitHashes; }; }`,
		"a let of single hashes":  `let foo = FOO; in { cargoLock = { lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = foo; "bar-0.2.0" = BAR; }; }; }`,
		"importCargoLock":         `{ cargoDeps = rustPlatform.importCargoLock { lockFile = ./Cargo.lock; outputHashes = { ` + entries + ` }; }; }`,
		"two packages":            `{ a = f { cargoLock = ` + table + `; }; b = f { cargoLock = ` + table + `; }; }`,
		"crane":                   `{ outputHashes = { "` + fooKey + `" = FOO; "` + barKey + `" = BAR; }; }`,
		"one hash is enough":      `{ lockFile = ./Cargo.lock; allowBuiltinFetchGit = false; outputHashes = { ` + entries + ` }; }`,
		"a with in a value":       `{ meta = with lib; { a = 1; }; lockFile = ./Cargo.lock; outputHashes = { ` + entries + ` }; }`,
		"a let in a value":        `{ src = let a = { b = 1; }; in a; lockFile = ./Cargo.lock; outputHashes = { ` + entries + ` }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			if found := checkHashes(t, text); len(found) > 0 {
				t.Errorf("%s\nfound %s", text, strings.Join(found, "\n"))
			}
		})
	}
}

// Hashes that only Nix can evaluate are skipped, with the reason.
func TestHashesThatNeedEvaluationAreSkipped(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // parts of what is found, in order
	}{
		"merged with a name":         {`{ lockFile = ./Cargo.lock; outputHashes = { } // more; }`, []string{`a.nix SKIP: outputHashes is made by "more"`, "equal SKIP"}},
		"a set of an argument":       {`{ hashes }: { lockFile = ./Cargo.lock; outputHashes = hashes; }`, []string{`a.nix SKIP: outputHashes is made by "hashes"`, "equal SKIP"}},
		"a name that is bound twice": {`{ a = let h = { }; in h; b = let h = { }; in { lockFile = ./Cargo.lock; outputHashes = h; }; }`, []string{`a.nix SKIP: outputHashes is made by "h"`, "equal SKIP"}},
		"JSON":                       {`{ lockFile = ./Cargo.lock; outputHashes = lib.importJSON ./pins.json; }`, []string{`a.nix SKIP: outputHashes is made by "lib.importJSON ./pins.json"`, "equal SKIP"}},
		"read from JSON":             {`{ lockFile = ./Cargo.lock; outputHashes = builtins.fromJSON (builtins.readFile ./h.json); }`, []string{"a.nix SKIP", "equal SKIP"}},
		"another file":               {`{ cargoLock.lockFile = ./Cargo.lock; cargoLock.outputHashes = import ./extra-hashes.nix; }`, []string{`a.nix SKIP: outputHashes is made by "import ./extra-hashes.nix"`, "equal SKIP"}},
		"a function":                 {`{ lockFile = ./Cargo.lock; outputHashes = lib.genAttrs [ "foo-0.1.0" ] (_: FOO); }`, []string{"a.nix SKIP", "equal SKIP"}},
		"a condition":                {`{ lockFile = ./Cargo.lock; outputHashes = if x then { "foo-0.1.0" = FOO; } else { }; }`, []string{"a.nix SKIP", "equal SKIP"}},
		"a let in the value":         {`{ lockFile = ./Cargo.lock; outputHashes = let h = FOO; in { "foo-0.1.0" = h; "bar-0.2.0" = h; }; }`, []string{"a.nix SKIP", "equal SKIP"}},
		"with":                       {`{ lockFile = ./Cargo.lock; outputHashes = with hashes; { "foo-0.1.0" = foo; }; }`, []string{"a.nix SKIP", "equal SKIP"}},
		"a name with a variable":     {`{ lockFile = ./Cargo.lock; outputHashes = { "foo-${version}" = FOO; }; }`, []string{"a.nix SKIP", "equal SKIP"}},
		"inherited entries":          {`{ lockFile = ./Cargo.lock; outputHashes = { inherit (h) "foo-0.1.0"; "bar-0.2.0" = BAR; }; }`, []string{"a.nix SKIP", "equal SKIP"}},
		"inherited from elsewhere":   {`{ lockFile = ./Cargo.lock; inherit (common) outputHashes; }`, []string{"a.nix SKIP: outputHashes comes from elsewhere", "equal SKIP"}},
		"inherited argument":         {`{ rustPlatform, outputHashes }: { lockFile = ./Cargo.lock; inherit outputHashes; }`, []string{"a.nix SKIP: outputHashes comes from elsewhere", "equal SKIP"}},
		"inherited twice":            {`let inherit (x) outputHashes; in { lockFile = ./Cargo.lock; inherit outputHashes; }`, []string{"a.nix SKIP: outputHashes comes from elsewhere", "equal SKIP"}},
		"a merged lock":              {`{ cargoLock = { lockFile = ./Cargo.lock; } // common; }`, []string{"a.nix SKIP: the set with lockFile is merged", "equal SKIP"}},
		"a hash that is computed":    {`{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = hashes.foo; "bar-0.2.0" = BAR; }; }`, []string{"values SKIP: foo-0.1.0 has hashes.foo"}},
		"a hash with a variable":     {`{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = "sha256-${x}"; "bar-0.2.0" = BAR; }; }`, []string{"values SKIP: foo-0.1.0 has"}},
		"fetchGit and some hashes":   {`{ lockFile = ./Cargo.lock; allowBuiltinFetchGit = true; outputHashes = { "foo-0.1.0" = FOO; }; }`, []string{"complete SKIP: no hash of bar-0.2.0"}},
		"fetchGit by a path":         {`{ cargoLock.lockFile = ./Cargo.lock; cargoLock.allowBuiltinFetchGit = true; }`, []string{"a.nix SKIP: allowBuiltinFetchGit needs no hashes", "equal SKIP"}},
		"fetchGit inherited":         {`{ lockFile = ./Cargo.lock; inherit allowBuiltinFetchGit; outputHashes = { "foo-0.1.0" = FOO; }; }`, []string{"complete SKIP: no hash of bar-0.2.0"}},
		"fetchGit by a condition":    {`{ lockFile = ./Cargo.lock; allowBuiltinFetchGit = !pure; outputHashes = { }; }`, []string{"complete SKIP: no hash of foo-0.1.0"}},
		"fetchGit where it is used":  {`let outputHashes = { "foo-0.1.0" = FOO; }; in { lockFile = ./Cargo.lock; allowBuiltinFetchGit = true; inherit outputHashes; }`, []string{"complete SKIP: no hash of bar-0.2.0"}},
		"crane with some hashes":     {`{ outputHashes = { "` + fooKey + `" = FOO; }; }`, []string{"complete SKIP: no hash of bar-0.2.0"}},
		"crane with an old key":      {`{ outputHashes = { "` + fooKey + `" = FOO; "` + barKey + `" = BAR; "git+https://example.org/bar#3333" = BAR; }; }`, []string{"stale WARN: git+https://example.org/bar#3333 is no git dependency"}},
		"crane without hashes":       {`{ outputHashes = { }; }`, []string{"complete SKIP: no hash of foo-0.1.0"}},
		"another lock file":          {`{ lockFile = ./sub/Cargo.lock; outputHashes = { "x-1.0.0" = FOO; }; }`, []string{"a.nix SKIP: outputHashes is for sub/Cargo.lock, not for Cargo.lock", "equal SKIP"}},
		"one hash for all":           {`{ cargoHash = FOO; }`, []string{"a.nix SKIP: cargoHash has the hash of all dependencies", "equal SKIP"}},
		"fetchCargoVendor":           {`{ cargoDeps = rustPlatform.fetchCargoVendor { inherit src; hash = FOO; }; }`, []string{"a.nix SKIP: fetchCargoVendor has the hash", "equal SKIP"}},
		"nothing at all":             {`{ inherit cargoLock; }`, []string{"a.nix SKIP: it has no outputHashes and no lockFile", "equal SKIP"}},
	} {
		t.Run(name, func(t *testing.T) {
			found := checkHashes(t, test.text)
			if len(found) != len(test.want) {
				t.Fatalf("%s\nfound %s\nwant %s", test.text, strings.Join(found, "\n"), strings.Join(test.want, "\n"))
			}
			for i, want := range test.want {
				if !strings.HasPrefix(found[i], want) {
					t.Errorf("%s\nfound %s\nwant %s…", test.text, found[i], want)
				}
			}
		})
	}
}

// Wrong hashes fail in every form.
func TestWrongHashesInManyForms(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"a path lacks one":         {`{ cargoLock.lockFile = ./Cargo.lock; cargoLock.outputHashes."foo-0.1.0" = FOO; }`, []string{"complete FAIL: no hash of bar-0.2.0, from https://example.org/bar at 2222222"}},
		"a second table":           {`{ a = f { cargoLock = ` + table + `; }; b = f { cargoLock = { lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = FOO; }; }; }; }`, []string{"complete FAIL: no hash of bar-0.2.0, from https://example.org/bar at 2222222"}},
		"a second lock without":    {`{ a = f { cargoLock = ` + table + `; }; b = f { cargoLock = { lockFile = ./Cargo.lock; }; }; }`, []string{"complete FAIL: no hash of foo-0.1.0, from https://example.org/foo at 1111111; no hash of bar-0.2.0, from https://example.org/bar at 2222222"}},
		"a second table differs":   {`{ a = f { cargoLock = ` + table + `; }; b = f { cargoLock = { lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = BAR; "bar-0.2.0" = BAR; }; }; }; }`, []string{"equal FAIL: foo-0.1.0 differs from foo-0.1.0 in a.nix:1"}},
		"a stale entry of a path":  {`{ cargoLock = ` + strings.TrimSuffix(table, "}") + ` outputHashes."old-0.1.0" = FOO; }; }`, []string{"stale FAIL: old-0.1.0 is no git dependency in Cargo.lock"}},
		"fetchGit and a stale one": {`{ lockFile = ./Cargo.lock; allowBuiltinFetchGit = true; outputHashes = { "old-0.1.0" = FOO; "foo-0.1.0" = FOO; "bar-0.2.0" = BAR; }; }`, []string{"stale FAIL: old-0.1.0 is no git dependency in Cargo.lock"}},
		"a named placeholder":      {`{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = pkgs.lib.fakeSha256; "bar-0.2.0" = BAR; }; }`, []string{"values FAIL: foo-0.1.0 has pkgs.lib.fakeSha256 instead of a hash"}},
		"an empty hash":            {`{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = ""; "bar-0.2.0" = BAR; }; }`, []string{"values FAIL: foo-0.1.0 has no real hash"}},
		"a cut hash":               {`{ lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = "sha256-BmqF9UfZ94W3ztwd7srASZ1LZ1bPxrI5CzxKexDd2D"; "bar-0.2.0" = BAR; }; }`, []string{"values FAIL: foo-0.1.0 has no real hash"}},
		"a bound placeholder":      {`let h = ""; in { lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = h; "bar-0.2.0" = BAR; }; }`, []string{"values FAIL: foo-0.1.0 has no real hash"}},
		"a bound table lacks one":  {`let h = { "foo-0.1.0" = FOO; }; in { lockFile = ./Cargo.lock; outputHashes = h; }`, []string{"complete FAIL: no hash of bar-0.2.0, from https://example.org/bar at 2222222"}},
		"fetchGit of another set":  {`{ a = { lockFile = ./Cargo.lock; allowBuiltinFetchGit = true; }; b = { lockFile = ./Cargo.lock; outputHashes = { "foo-0.1.0" = FOO; }; }; }`, []string{"a.nix SKIP: allowBuiltinFetchGit needs no hashes", "complete FAIL: no hash of bar-0.2.0, from https://example.org/bar at 2222222", "equal SKIP: hashes of a.nix could not be read"}},
		"in a comment":             {"{ lockFile = ./Cargo.lock; outputHashes = { \"foo-0.1.0\" = FOO; # \"bar-0.2.0\" = BAR;\n }; }", []string{"complete FAIL: no hash of bar-0.2.0, from https://example.org/bar at 2222222"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, checkHashes(t, test.text)); diff != "" {
				t.Errorf("%s\nfound (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

// A fix writes an entry in the form that the table has.
func TestFixStaticKeepsTheForm(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "Cargo.lock"), twoLock)
	write(t, filepath.Join(tree, "a.nix"), `{ cargoLock = `+table+`; }`)
	write(t, filepath.Join(tree, "b.nix"), "{\n  cargoLock.lockFile = ./Cargo.lock;\n  cargoLock.outputHashes.\"foo-0.1.0\" = \""+fooHash+"\";\n}\n")
	c := &Contract{Hashes: &Hashes{Lock: "Cargo.lock", Files: []string{"a.nix", "b.nix"}}}
	changed, err := c.FixStatic(tree)
	want := []Position{{"b.nix", 4, `cargoLock.outputHashes."bar-0.2.0" = "` + barHash + `";`}}
	if diff := cmp.Diff(want, changed); diff != "" || err != nil {
		t.Errorf("%v; changed (-want +got):\n%s", err, diff)
	}
	if text := read(t, filepath.Join(tree, "b.nix")); !strings.HasSuffix(text, ";\n  "+want[0].Text+"\n}\n") {
		t.Errorf("b.nix is now\n%s", text)
	}
	for _, r := range c.Static(tree, today) {
		if r.Status != Pass {
			t.Errorf("%+v", r)
		}
	}
}

func TestFixFindsAHashWithoutPadding(t *testing.T) {
	tree := t.TempDir()
	write(t, filepath.Join(tree, "a.nix"), `{ h = "`+strings.TrimSuffix(fooHash, "=")+`"; }`)
	want := []Position{{"a.nix", 1, `{ h = "` + barHash + `"; }`}}
	if diff := cmp.Diff(want, Mismatch{Specified: fooHash, Got: barHash}.Locate(tree).Positions); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

// Reading ends with any file, and the lines of a table are in the file.
func FuzzParseHashes(f *testing.F) {
	tree := writeExample(f)
	for _, file := range []string{headlessFile, desktopFile, "flake.nix"} {
		data, err := os.ReadFile(filepath.Join(tree, file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Add(`outputHashes = { "a`)
	f.Add(`a = let x = { in } // rec { cargoLock.outputHashes."b" = (with y; x); inherit (z`)
	f.Add("{\n  inputs.a.url = \"x\";\n  outputs = _: { }; # }\n}")
	f.Fuzz(func(t *testing.T, text string) {
		lines := strings.Count(text, "\n") + 1
		readNixConfig(text)
		if line := inputsLine(text); line < 0 || line > lines {
			t.Fatalf("inputs at line %d of %d", line, lines)
		}
		for _, table := range parseHashes("a.nix", text, "Cargo.lock") {
			if table.last > lines {
				t.Fatalf("a table that ends at line %d of %d", table.last, lines)
			}
		}
	})
}
