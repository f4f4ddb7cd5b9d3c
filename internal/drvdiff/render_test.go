package drvdiff

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	drvA = "/nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv"
	drvB = "/nix/store/knbqplh0xs1jk1h34pzfxkpnj1dag7lc-leaf-1.0.drv"
)

func TestRender(t *testing.T) {
	path := []string{"root", "leaf-1.0"}
	flags := Difference{Path: path, DrvA: drvA, DrvB: drvB, Kind: Variable, Name: "FLAGS", A: `"-O2"`, B: `"-O3"`}
	script := Difference{Path: path, DrvA: drvA, DrvB: drvB, Kind: Variable, Name: "script", A: `"make"`, B: unset, Line: 7}
	source := Difference{
		Path: path, DrvA: drvA, DrvB: drvB, Kind: Source, Name: "src", Uses: []string{"env src", "arg 2"}, Again: 2,
		A: "/nix/store/z2v4jxx537jg803544y5mj6ssa471j8m-src", B: "/nix/store/hd4714zm4d6ikpjqqg3f278ymjwv9y0y-src",
	}
	fetched := Difference{Path: path, DrvA: drvA, DrvB: drvB, Kind: Variable, Name: "url", A: `"1"`, B: `"2"`, SameOutputs: true}
	missing := Difference{Path: path, DrvA: drvA, DrvB: drvB, Kind: Missing, A: drvA, B: notHere}

	for name, test := range map[string]struct {
		differences []Difference
		want        string
	}{
		"none": {nil, "the derivations are the same\n"},
		"one": {[]Difference{flags}, `
root → leaf-1.0: env FLAGS
  manifest: "-O2"
  here:     "-O3"
  between:  /nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv
  and:      /nix/store/knbqplh0xs1jk1h34pzfxkpnj1dag7lc-leaf-1.0.drv
`},
		"source, and others": {slices.Concat([]Difference{source, script, source, fetched, missing}, slices.Repeat([]Difference{flags}, 7)), `
root → leaf-1.0: the source src has other contents (env src, arg 2), as in 2 other derivations
  manifest: /nix/store/z2v4jxx537jg803544y5mj6ssa471j8m-src
  here:     /nix/store/hd4714zm4d6ikpjqqg3f278ymjwv9y0y-src
  between:  /nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv
  and:      /nix/store/knbqplh0xs1jk1h34pzfxkpnj1dag7lc-leaf-1.0.drv
also:
  root → leaf-1.0: env script, line 7: "make" ≠ not set
  root → leaf-1.0: the source src has other contents (env src, arg 2), as in 2 other derivations
  root → leaf-1.0: env url; the outputs are the same: "1" ≠ "2"
  root → leaf-1.0: what differs is not known: its derivation is not here
  root → leaf-1.0: env FLAGS: "-O2" ≠ "-O3"
  root → leaf-1.0: env FLAGS: "-O2" ≠ "-O3"
  root → leaf-1.0: env FLAGS: "-O2" ≠ "-O3"
  root → leaf-1.0: env FLAGS: "-O2" ≠ "-O3"
  root → leaf-1.0: env FLAGS: "-O2" ≠ "-O3"
  root → leaf-1.0: env FLAGS: "-O2" ≠ "-O3"
and 1 other difference of 1 derivation
`},
		"missing first": {[]Difference{missing, script}, `
root → leaf-1.0: what differs is not known
  manifest: /nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv
  here:     its derivation is not here
  between:  /nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv
  and:      /nix/store/knbqplh0xs1jk1h34pzfxkpnj1dag7lc-leaf-1.0.drv
also:
  root → leaf-1.0: env script, line 7: "make" ≠ not set
`},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(strings.TrimPrefix(test.want, "\n"), Report(test.differences, "manifest", "here")); d != "" {
				t.Error(d)
			}
		})
	}
}

// A value that is not a string is shown as JSON. It has names in place of the paths that differ for another reason.
func TestStructured(t *testing.T) {
	const text = `{"int":9007199254740992,"n":[1,{"x":"…-leaf/a\u001b"}],"s":"\u0000"}`
	c := newComparison(nil, nil, &derivation{}, &derivation{})
	other := `{"int":9007199254740993,"n":[1,{"x":["…-leaf","https://me:secret@example.org"]}],"s":"\ufffe","z":{"y":{"x":"…-leaf"}}}`
	if !c.structured(text, other) {
		t.Fatal("nothing found")
	}
	var got []string
	for _, d := range c.own {
		got = append(got, d.What()+": "+d.A+" ≠ "+d.B)
	}
	want := []string{
		`attribute int: 9007199254740992 ≠ 9007199254740993`,
		`attribute n[1].x: "…-leaf/a\x1b" ≠ ["…-leaf","https://example.org"]`,
		`attribute s: "\x00" ≠ "\ufffe"`,
		`attribute z: not set ≠ {"y":{"x":"…-leaf"}}`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for name, text := range map[string]string{"no JSON": "{", "no attributes": "[]", "null": "null", "the same": `{"a":[1]}`} {
		if c.structured(text, text) {
			t.Errorf("%s: something found", name)
		}
	}
}

// References that correspond are equal; two pairs with the same names have different labels.
func TestLabels(t *testing.T) {
	c := newComparison(nil, nil, &derivation{}, &derivation{})
	c.labelAs("a1-leaf", "b1-leaf", "leaf", "leaf")
	c.labelAs("a2-leaf", "b2-leaf", "leaf", "leaf")
	c.labelAs("a3-ssl-1", "b3-ssl-2", "ssl-1", "ssl-2")
	a, b := strings.NewReplacer(c.a.labels...), strings.NewReplacer(c.b.labels...)
	if got := a.Replace("a1-leaf a2-leaf a3-ssl-1"); got != "…-leaf …-leaf(2) …-ssl-1|ssl-2" || got != b.Replace("b1-leaf b2-leaf b3-ssl-2") {
		t.Error(got)
	}
}
