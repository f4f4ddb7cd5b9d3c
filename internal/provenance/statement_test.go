package provenance

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	intoto "github.com/in-toto/attestation/go/v1"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

var update = flag.Bool("update", false, "write the golden files")

// recorded is the manifest of a run of the example, both systems.
func recorded(t *testing.T) *run.Manifest {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	m := new(run.Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// exampleRun is the run of the example, with the inputs of its flake.lock.
func exampleRun(t *testing.T) (*run.Manifest, Facts) {
	t.Helper()
	lock, err := flake.ReadLock(filepath.Join("..", "..", "example", "flake"))
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := lock.Inputs(nil)
	if err != nil {
		t.Fatal(err)
	}
	m := recorded(t)
	m.Inputs, m.Settings = inputs, nix.Settings{"sandbox": "true", "substituters": "https://me:secret@cache.example.org"}
	return m, Facts{
		Byproducts: []File{{
			Name: "manifest.json", MediaType: "application/json",
			Hash: mustHash(t, "sha256-ooJMX7he1RHSLa1Y2TH6aCtil2FErdpgn20WxQWj3JA="),
		}},
	}
}

func mustHash(t *testing.T, s string) nix.Hash {
	t.Helper()
	h, err := nix.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestStatementGolden(t *testing.T) {
	s, err := Statement(exampleRun(t))
	if err != nil {
		t.Fatal(err)
	}
	line, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(line, []byte("secret")) {
		t.Error("the statement has the password of a substituter")
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, line, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	golden := filepath.Join("testdata", "statement.json")
	if *update {
		if err := os.WriteFile(golden, pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Errorf("the statement is not that of %s; to write it: go test ./internal/provenance -update\n%s", golden, &pretty)
	}
}

func TestStatementIsTheSameEachTime(t *testing.T) {
	var first []byte
	for range 50 { // maps are in another order each time
		s, err := Statement(exampleRun(t))
		if err != nil {
			t.Fatal(err)
		}
		line, err := Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = line
		}
		if !bytes.Equal(line, first) {
			t.Fatalf("two statements of one manifest:\n%s\n%s", first, line)
		}
	}
}

func TestStatementSubjects(t *testing.T) {
	served := func(m *run.Manifest) {
		for i := range m.Cells[0].Packages {
			m.Cells[0].Packages[i].Verdict = run.Served
		}
	}
	for name, test := range map[string]struct {
		change func(m *run.Manifest)
		want   int
		err    string
	}{
		"all":               {func(*run.Manifest) {}, 4, ""},
		"one system served": {served, 2, ""},
		"all served":        {func(m *run.Manifest) { served(m); m.Cells = m.Cells[:1] }, 0, "no output of its own"},
		"a failed package":  {func(m *run.Manifest) { m.Cells[1].Packages[0].Verdict = run.Failed }, 3, ""},
		"one path, two names": {func(m *run.Manifest) {
			m.Cells[0].Packages[1].Outputs = m.Cells[0].Packages[0].Outputs
		}, 3, ""},
		"one path, two hashes": {func(m *run.Manifest) {
			o := m.Cells[0].Packages[0].Outputs[0]
			o.NARHash = m.Source.NARHash
			m.Cells[0].Packages[1].Outputs = []run.Output{o}
		}, 0, "has the NAR hashes"},
		"an output without a hash": {func(m *run.Manifest) { m.Cells[0].Packages[0].Outputs[0].NARHash = "" }, 0, "output /nix/store/"},
		"no time":                  {func(m *run.Manifest) { m.Started = "" }, 0, "cannot parse"},
	} {
		t.Run(name, func(t *testing.T) {
			m := recorded(t)
			test.change(m)
			s, err := Statement(m, Facts{})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q in it", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(s.GetSubject()) != test.want {
				t.Errorf("%d subjects, want %d", len(s.GetSubject()), test.want)
			}
		})
	}
	m := recorded(t)
	served(m)
	m.Cells = m.Cells[:1]
	if _, err := Statement(m, Facts{}); !errors.Is(err, ErrNoSubjects) {
		t.Errorf("error %v, want ErrNoSubjects", err)
	}
}

func TestStatementDependencies(t *testing.T) {
	m := recorded(t)
	rev := strings.Repeat("a", 40)
	m.Source.URL, m.Source.Rev = "github:a/b/"+rev, rev
	m.Source.Overrides = map[string]string{"nixpkgs": "github:NixOS/nixpkgs/nixos-unstable", "known": "path:/known"}
	m.Cells[0].Engine.Image = "docker.io/nixos/nix:2.34.7@sha256:" + strings.Repeat("b", 64)
	m.Cells[1].Engine.Image = "sha256:" + strings.Repeat("c", 64)
	m.Inputs = []flake.Input{
		{Name: "known", URL: "path:/known", NARHash: m.Source.NARHash},
		{Name: "old", URL: "hg+https://example.org/r?rev=" + rev, Rev: rev, NARHash: m.Source.NARHash},
	}
	s, err := Statement(m, Facts{})
	if err != nil {
		t.Fatal(err)
	}
	dependencies := map[string]*intoto.ResourceDescriptor{}
	list := s.GetPredicate().GetFields()["buildDefinition"].GetStructValue().GetFields()["resolvedDependencies"].GetListValue()
	for _, v := range list.GetValues() {
		d := new(intoto.ResourceDescriptor)
		if err := convert(v.GetStructValue(), d); err != nil {
			t.Fatal(err)
		}
		dependencies[d.GetName()+d.GetUri()] = d
	}
	narHash := mustHash(t, m.Source.NARHash).RawBase16()
	for key, want := range map[string]map[string]string{
		"sourcegithub:a/b/" + rev:                           {"gitCommit": rev, "sha256": narHash},
		"inputs/knownpath:/known":                           {"sha256": narHash},
		"inputs/nixpkgsgithub:NixOS/nixpkgs/nixos-unstable": {},
		"inputs/oldhg+https://example.org/r?rev=" + rev:     {"sha256": narHash},
		"image": {"sha256": strings.Repeat("c", 64)},
		"imagedocker://docker.io/nixos/nix:2.34.7@sha256:" + strings.Repeat("b", 64): {"sha256": strings.Repeat("b", 64)},
	} {
		d := dependencies[key]
		if d == nil {
			t.Errorf("no dependency %s", key)
			continue
		}
		if len(d.GetDigest()) != len(want) {
			t.Errorf("%s has the digests %v, want %v", key, d.GetDigest(), want)
		}
		for name, value := range want {
			if d.GetDigest()[name] != value {
				t.Errorf("%s has %s %q, want %q", key, name, d.GetDigest()[name], value)
			}
		}
	}
}
