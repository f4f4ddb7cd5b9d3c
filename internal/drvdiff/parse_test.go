package drvdiff

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Nix 2.8 has written these: an ordinary derivation, a fixed output, structured attributes, content-addressed outputs.
const (
	ordinaryText = `Derive([("dev","/nix/store/p81z9h57nlqbk1h3qk7v6q8bqziiw857-top-dev","",""),("out","/nix/store/rhxq87p73nd3clq4xp3pxfav6j7vwiww-top","","")],` +
		`[("/nix/store/swz4mkyi2nflmw7vxd08s8vlbmlr40kv-leaf.drv",["out"]),("/nix/store/w0irrcyidl0dykraq30dzjmkxwas32xq-st.drv",["dev","out"])],` +
		`["/nix/store/k24aw4n28qydss5p2ymcl6sp08in7wq8-src","/nix/store/swz4mkyi2nflmw7vxd08s8vlbmlr40kv-leaf.drv"],` +
		`"x86_64-linux","/nix/store/2qm82mvrq869krkzvpqm9ijbvfq28k29-leaf/bin/sh",["-c","echo $x > $out"],[("name","top"),("x","q\"uo\\te\nnew\tline\rret é $")])`
	fixedText = `Derive([("out","/nix/store/07qy49i4lyqslx9hsaqn366xyf2116s6-fixed.tar","r:sha256","e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")],` +
		`[],[],"x86_64-linux","/bin/sh",[],[("builder","/bin/sh"),("name","fixed.tar"),("out","/nix/store/07qy49i4lyqslx9hsaqn366xyf2116s6-fixed.tar"),` +
		`("outputHash","sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),("outputHashAlgo","sha256"),("outputHashMode","recursive"),("system","x86_64-linux")])`
	structuredText = `Derive([("dev","/nix/store/gakpnqdwcwyqxlmh1qhibaw9ljza4zk1-st-dev","",""),("out","/nix/store/2fw2zb4qk8pcmgj3qix1br0dbc8c8hgy-st","","")],` +
		`[("/nix/store/swz4mkyi2nflmw7vxd08s8vlbmlr40kv-leaf.drv",["out"])],[],"x86_64-linux","/bin/sh",[],` +
		`[("__json","{\"builder\":\"/bin/sh\",\"deps\":[\"/nix/store/2qm82mvrq869krkzvpqm9ijbvfq28k29-leaf\"],\"n\":{\"a\":1,\"b\":null},\"name\":\"st\"}"),` +
		`("dev","/nix/store/gakpnqdwcwyqxlmh1qhibaw9ljza4zk1-st-dev"),("out","/nix/store/2fw2zb4qk8pcmgj3qix1br0dbc8c8hgy-st")])`
	addressedText = `Derive([("out","","r:sha256","")],[],[],"x86_64-linux","/bin/sh",[],[("name","ca"),("out","/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9")])`
)

func TestParse(t *testing.T) {
	got, err := parse([]byte(ordinaryText))
	if err != nil {
		t.Fatal(err)
	}
	want := &derivation{
		Outputs: []output{
			{Name: "dev", Path: "/nix/store/p81z9h57nlqbk1h3qk7v6q8bqziiw857-top-dev"},
			{Name: "out", Path: "/nix/store/rhxq87p73nd3clq4xp3pxfav6j7vwiww-top"},
		},
		Inputs: []input{
			{"/nix/store/swz4mkyi2nflmw7vxd08s8vlbmlr40kv-leaf.drv", []string{"out"}},
			{"/nix/store/w0irrcyidl0dykraq30dzjmkxwas32xq-st.drv", []string{"dev", "out"}},
		},
		Sources: []nix.StorePath{
			"/nix/store/k24aw4n28qydss5p2ymcl6sp08in7wq8-src", "/nix/store/swz4mkyi2nflmw7vxd08s8vlbmlr40kv-leaf.drv",
		},
		System: "x86_64-linux", Builder: "/nix/store/2qm82mvrq869krkzvpqm9ijbvfq28k29-leaf/bin/sh",
		Args: []string{"-c", "echo $x > $out"},
		Env:  map[string]string{"name": "top", "x": "q\"uo\\te\nnew\tline\rret é $"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	for _, text := range []string{ordinaryText, fixedText, structuredText, addressedText} {
		d, err := parse([]byte(text))
		if err != nil {
			t.Error(err)
		} else if again := write(d); again != text {
			t.Errorf("%s\nis written as\n%s", text, again)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, test := range map[string]struct{ old, new, says string }{
		"dynamic derivation":       {"Derive(", `DrvWithVersion("xp-dyn-drv",`, "dynamic-derivations"},
		"another form":             {"Derive(", "Derives(", `at byte 0: "Derive(" must be here`},
		"more after the end":       {`$")])`, `$")])` + "\n", "more text after the end"},
		"cut":                      {`$")])`, `$`, "a string does not end"},
		"cut in an escape":         {`q\"uo\\te\nnew\tline\rret é $")])`, `q\`, "an escape that Nix does not write"},
		"another escape":           {`q\"`, `q\x`, "an escape that Nix does not write"},
		"a line break":             {"new", "new\n", "byte 0x0a in a string"},
		"a zero":                   {"new", "new\x00", "byte 0x00 in a string"},
		"input of another store":   {`("/nix/store/swz`, `("/gnu/store/swz`, "not in /nix/store"},
		"path that is not clean":   {`("/nix/store/swz`, `("/nix/store//swz`, "is not a store path"},
		"path above the store":     {`["/nix/store/k24aw4n28qydss5p2ymcl6sp08in7wq8-src"`, `["/nix/store/../k24aw4n28qydss5p2ymcl6sp08in7wq8-src"`, "not in /nix/store"},
		"input that is no .drv":    {`kv-leaf.drv",["out"]`, `kv-leaf",["out"]`, "its name does not end in .drv"},
		"output twice":             {`("out","/nix/store/rhxq`, `("dev","/nix/store/rhxq`, "outputs out of order, or twice"},
		"variable twice":           {`("name","top")`, `("x","top")`, "variables out of order, or twice"},
		"inputs out of order":      {`[("/nix/store/swz`, `[("/nix/store/zwz`, "input derivations out of order, or twice"},
		"input's outputs reversed": {`["dev","out"]`, `["out","dev"]`, "outputs of an input out of order, or twice"},
		"list without an end":      {`["-c","echo $x > $out"],`, `["-c","echo $x > $out"`, `"]" must be here`},
		"comma before the end":     {`["out"]`, `["out",]`, `"\"" must be here`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(ordinaryText, test.old, test.new, 1)
			_, err := parse([]byte(text))
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v, want %q", err, test.says)
			}
		})
	}
	if _, err := parse(make([]byte, maxText+1)); err == nil {
		t.Error("no limit")
	}
}

// write is the inverse of parse.
func write(d *derivation) string {
	escape := strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)
	quote := func(s string) string { return `"` + escape.Replace(s) + `"` }
	tuple := func(s ...string) string {
		for i := range s {
			s[i] = quote(s[i])
		}
		return "(" + strings.Join(s, ",") + ")"
	}
	list := func(items []string) string { return "[" + strings.Join(items, ",") + "]" }
	quotes := func(all []string) string {
		var quoted []string
		for _, s := range all {
			quoted = append(quoted, quote(s))
		}
		return list(quoted)
	}
	var outputs, inputs, sources, env []string
	for _, o := range d.Outputs {
		outputs = append(outputs, tuple(o.Name, string(o.Path), o.Algorithm, o.Hash))
	}
	for _, in := range d.Inputs {
		inputs = append(inputs, "("+quote(string(in.Path))+","+quotes(in.Outputs)+")")
	}
	for _, s := range d.Sources {
		sources = append(sources, string(s))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Env)) {
		env = append(env, tuple(name, d.Env[name]))
	}
	return "Derive(" + strings.Join([]string{
		list(outputs), list(inputs), quotes(sources), quote(d.System), quote(d.Builder), quotes(d.Args), list(env),
	}, ",") + ")"
}

// FuzzParse looks for texts that crash the parser, or that are not the same after parsing and writing.
func FuzzParse(f *testing.F) {
	for _, text := range []string{ordinaryText, fixedText, structuredText, addressedText, `DrvWithVersion("xp-dyn-drv",[])`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parse([]byte(text))
		if err != nil {
			return
		}
		if again := write(d); again != text {
			t.Errorf("%q\nis written as\n%q", text, again)
		}
	})
}
