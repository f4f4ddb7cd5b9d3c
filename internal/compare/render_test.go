package compare

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hostile is text in names and contents that tries to forge lines or markup.
const hostile = "\x1b[2Jred\u202egpj<script>alert(1)</script>&\"'"

func hostileReport(t *testing.T) *Report {
	t.Helper()
	a := files(t, map[string]string{hostile: "left\n" + hostile + "1\n", "b\xff": "x\x00" + hostile + "y"})
	b := files(t, map[string]string{hostile: "left\n" + hostile + "2\n", "b\xff": "x\x00" + hostile + "z"})
	for _, tree := range []Tree{a, b} {
		if err := os.Symlink(hostile+tree.Name, filepath.Join(tree.Name, "link")); err != nil {
			t.Fatal(err)
		}
	}
	a.Name, b.Name = hostile, hostile
	return mustCompare(t, a, b)
}

// Names and contents of a build stay text on a terminal, in a page and in JSON.
func TestHostileNames(t *testing.T) {
	r := hostileReport(t)
	if len(r.Outputs[0].Differences) != 3 {
		t.Fatalf("%+v", r.Outputs)
	}
	var html bytes.Buffer
	text := r.String()
	if err := r.WriteHTML(&html); err != nil {
		t.Fatal(err)
	}
	for name, out := range map[string]string{"text": text, "page": html.String(), "error": r.Err().Error()} {
		for _, bad := range []string{"\x1b", "\u202e", "\xff"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s has %q in it", name, bad)
			}
		}
	}
	for _, bad := range []string{"<script", "http://", "https://", "javascript:"} {
		if strings.Contains(html.String(), bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	if !strings.Contains(html.String(), `\x1b[2Jred\u202egpj&lt;script&gt;`) || !strings.Contains(text, `b\xff`) {
		t.Errorf("names are not shown escaped:\n%s", text)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsAny(data, "\x1b\x00") {
		t.Error("the JSON has control characters in it")
	}
}

// The text of a report, as a golden file.
func TestText(t *testing.T) {
	a := files(t, map[string]string{
		"bin/tool": "\x7fELF not really\x00\x01built by root@left\x00\x00\x00", "share/doc": "one\ntwo\nthree\nmade 2026-11-25\n",
		"share/list": "b\na\n", "only/a/file": "12345",
	})
	b := files(t, map[string]string{
		"bin/tool": "\x7fELF not really\x00\x01built by root@right\x00\x00", "share/doc": "one\ntwo\nthree\nmade 2026-11-24\n",
		"share/list": "a\nb\n", "share/new": "",
	})
	if err := os.Chmod(filepath.Join(b.Name, "bin/tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := mustCompare(t, a, b)
	r.A, r.B, r.Outputs[0].Name = "result", "result.check", "tool-1.0"
	out := r.String()
	golden := filepath.Join("testdata", "report.txt")
	if *update {
		writeFile(t, golden, out)
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out != string(want) {
		t.Errorf("not as in %s (go test -update writes it anew):\n%s", golden, out)
	}
}

// A report as JSON has the names that the documentation gives.
func TestJSON(t *testing.T) {
	a := files(t, map[string]string{"f": "x\x00\x01"})
	b := files(t, map[string]string{"f": "x\x00\x02"})
	r := mustCompare(t, a, b)
	r.A, r.B, r.Outputs[0].Name = "a", "b", "f"
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":"a","b":"b","same":false,"outputs":[{"name":"f","verdict":"different","files":2,"sizeA":3,"sizeB":3,"changed":1,"differences":[` +
		`{"path":"f","kinds":["contents"],"entryA":{"type":"file","size":3},"entryB":{"type":"file","size":3},` +
		`"change":{"offset":2,"differing":1,"region":{"start":0,"a":"780001","b":"780002"}}}]}]}`
	if string(data) != want {
		t.Errorf("%s", data)
	}
}
