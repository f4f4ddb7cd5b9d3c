package provenance

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// lines writes the provenance of a manifest, and returns the number of statements in the file.
func lines(t *testing.T, dir string, m *run.Manifest, key *SecretKey) int {
	t.Helper()
	file, err := Write(t.Context(), regular.NewDir(dir), m, Facts{}, key)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Read(regular.AnyFile(file))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(data, []byte("\n")); n != len(all) {
		t.Errorf("%d statements on %d lines", len(all), n)
	}
	return len(all)
}

func TestWriteIsTheSameEachTime(t *testing.T) {
	key := testKey(t, "a-1", 1)
	var first []byte
	for range 3 {
		m, facts := exampleRun(t)
		file, err := Write(t.Context(), regular.NewDir(t.TempDir()), m, facts, key)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(data, first) {
			t.Errorf("two files of one manifest:\n%s\n%s", first, data)
		}
	}
}

func TestWriteKeepsOtherStatements(t *testing.T) {
	dir := t.TempDir()
	only := func(cells ...int) *run.Manifest {
		m := recorded(t)
		kept := m.Cells
		m.Cells = nil
		for _, i := range cells {
			m.Cells = append(m.Cells, kept[i])
		}
		return m
	}
	of := func(m *run.Manifest, v run.Verdict) *run.Manifest {
		for _, c := range m.Cells {
			for i := range c.Packages {
				c.Packages[i].Verdict = v
			}
		}
		return m
	}
	key := testKey(t, "a-1", 1)
	for _, step := range []struct {
		name string
		m    *run.Manifest
		key  *SecretKey
		want int
	}{
		{"the first", only(0), nil, 1},
		{"the same again", only(0), nil, 1},
		{"the other system", only(1), nil, 2},
		{"both, but found and not built", of(only(0, 1), run.Present), nil, 3},
		{"the same again", of(only(0, 1), run.Present), nil, 3},
		{"both, built", only(0, 1), nil, 1},
		{"both, signed", only(0, 1), key, 1},
		{"one, not signed", only(0), nil, 2},
	} {
		if got := lines(t, dir, step.m, step.key); got != step.want {
			t.Errorf("after %s: %d statements, want %d", step.name, got, step.want)
		}
	}
	file := filepath.Join(dir, FileName)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), regular.NewDir(dir), of(only(0), run.Served), Facts{}, nil); !errors.Is(err, ErrNoSubjects) {
		t.Errorf("error %v of a run that was served, want ErrNoSubjects", err)
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a run that was served has changed the file, error %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, error %v", entries, err)
	}
}

func TestWriteRefusesAnUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, FileName)
	if err := os.WriteFile(file, []byte(`{"_type":`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Write(t.Context(), regular.NewDir(dir), recorded(t), Facts{}, nil)
	if err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("error %v, want one that the file is cut off", err)
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != `{"_type":` {
		t.Errorf("the file is %q now, error %v", data, err)
	}
}

func TestHashFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := HashFile(t.Context(), regular.NewDir(dir), "a", "text/plain")
	if want := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; err != nil || f.Hash.RawBase16() != want {
		t.Errorf("hash %s, error %v, want %s", f.Hash.RawBase16(), err, want)
	}
}
