package drvdiff

import (
	"errors"
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
		report Report
		want   string
	}{
		"none": {Report{}, "the derivations are the same\n"},
		"one": {Report{Differences: []Difference{flags}}, `
root → leaf-1.0: env FLAGS
  a:       "-O2"
  b:       "-O3"
  between: /nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv
  and:     /nix/store/knbqplh0xs1jk1h34pzfxkpnj1dag7lc-leaf-1.0.drv
`},
		"source, and others": {Report{Differences: []Difference{source, script, source, fetched, missing, flags}, A: "manifest", B: "here", Most: 4}, `
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
and 1 other difference of 1 derivation
`},
		"missing, and no others": {Report{Differences: []Difference{missing, flags, script}, Most: -1}, `
root → leaf-1.0: what differs is not known
  a:       /nix/store/f146dybg8af75fy9m0m7v72kiiadhph7-leaf-1.0.drv
  b:       /nix/store/knbqplh0xs1jk1h34pzfxkpnj1dag7lc-leaf-1.0.drv: its derivation is not here
and 2 other differences of 1 derivation
`},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(strings.TrimPrefix(test.want, "\n"), test.report.String()); d != "" {
				t.Error(d)
			}
		})
	}
	if err := (Report{}).Render(full{}); !errors.Is(err, errFull) {
		t.Errorf("the error is %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// Values that are no strings are shown as JSON, with names in place of what differs for another reason.
func TestCompact(t *testing.T) {
	c := &comparison{names: newNames(), reported: map[string]bool{}}
	c.names.samePath(drvA, drvB)
	a := `{"int":9007199254740992,"n":[1,{"x":"` + drvA + `/a\u001b"}],"s":"\u0000","same":"` + drvA + `"}`
	b := `{"int":9007199254740993,"n":[1,{"x":["` + drvB + `","https://me:secret@example.org"]}],"s":"\ufffe","same":"` + drvB + `","z":{"y":{"x":"` + drvB + `"}}}`
	if !c.structured(a, b) {
		t.Fatal("nothing found")
	}
	var got []string
	for _, d := range c.own {
		got = append(got, d.What()+": "+d.A+" ≠ "+d.B)
	}
	want := []string{
		`attribute int: 9007199254740992 ≠ 9007199254740993`,
		`attribute n[1].x: "/nix/store/…-leaf-1.0.drv/a\x1b" ≠ ["/nix/store/…-leaf-1.0.drv","https://example.org"]`,
		`attribute s: "�" ≠ "\ufffe"`,
		`attribute z: not set ≠ {"y":{"x":"/nix/store/…-leaf-1.0.drv"}}`,
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

// Where references change places, they are shown whole, although their names within the program begin the same.
func TestExcerptOfReferences(t *testing.T) {
	c := &comparison{names: newNames()}
	c.names.samePath(drvA, drvB)
	c.names.samePath("/nix/store/z2v4jxx537jg803544y5mj6ssa471j8m-src", "/nix/store/hd4714zm4d6ikpjqqg3f278ymjwv9y0y-src")
	line, a, b := c.excerpt("of:"+drvA+":x", "of:/nix/store/hd4714zm4d6ikpjqqg3f278ymjwv9y0y-src:x")
	if line != 0 || a != `"of:/nix/store/…-leaf-1.0.drv:x"` || b != `"of:/nix/store/…-src:x"` {
		t.Error(line, a, b)
	}
}
