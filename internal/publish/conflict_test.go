package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// fakeEvidence records what it is asked to keep.
type fakeEvidence struct{ kept []string }

func (e *fakeEvidence) KeepExport(context.Context, string, io.Reader) (string, error) { return "", nil }

func (e *fakeEvidence) KeepNAR(_ context.Context, name string, _ func(context.Context, io.Writer) error) (string, error) {
	e.kept = append(e.kept, name)
	return name, nil
}

func (e *fakeEvidence) Compare(context.Context, string, string) ([]string, string, error) {
	return nil, "", nil
}

// fakeHolder has the same hash for all paths.
type fakeHolder struct{ hash nix.Hash }

func (fakeHolder) Name() string { return "fake" }

func (fakeHolder) Dump(context.Context, io.Writer, nix.StorePath) error { return nil }

func (h fakeHolder) Infos(_ context.Context, paths []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	infos := map[nix.StorePath]nix.PathInfo{}
	for _, path := range paths {
		infos[path] = nix.PathInfo{Path: path, NARHash: h.hash}
	}
	return infos, nil
}

// Only the first conflicts are compared file by file, but all are reported.
func TestManyConflicts(t *testing.T) {
	hash := func(text string) nix.Hash {
		h, err := nix.ParseHash(text)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	ours, holder := hash("sha256-LKC4zplvhl2zdhm/6RAjVZMFqtgVgEL8bdsO8dQ8W2c="), fakeHolder{hash("sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")}
	var infos []nix.PathInfo
	for i := range 10 {
		infos = append(infos, nix.PathInfo{Path: nix.StorePath(fmt.Sprintf("/nix/store/%032d-x", i)), NARHash: ours})
	}
	evidence := &fakeEvidence{}
	check := ConflictCheck{Recorder: &run.Recorder{}, Evidence: evidence, KeepOurs: func(path nix.StorePath) run.KeepFunc { return run.KeepFrom(evidence, holder, path, "ours") }}
	err := check.Run(t.Context(), holder, infos)
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(conflict.Conflicts) != 10 || !strings.HasSuffix(err.Error(), "; and 9 paths more") {
		t.Errorf("error %v", err)
	}
	if len(evidence.kept) != 2*maxExamined {
		t.Errorf("kept %q", evidence.kept)
	}
}

// A push by hand compares the outputs, and the present objects that new objects refer to. It does not compare
// everything that the cache has.
func TestPresentRoots(t *testing.T) {
	path := func(i int) nix.StorePath { return nix.StorePath(fmt.Sprintf("/nix/store/%032d-x", i)) }
	info := func(i int, references ...int) nix.PathInfo {
		p := nix.PathInfo{Path: path(i), References: []nix.StorePath{path(i)}}
		for _, r := range references {
			p.References = append(p.References, path(r))
		}
		return p
	}
	infos := []nix.PathInfo{info(1), info(2, 1), info(3, 2), info(4, 2, 9), info(5, 3)}
	for name, c := range map[string]struct {
		there []int
		want  []int
	}{
		"nothing is there":                  {nil, nil},
		"all is there":                      {[]int{1, 2, 3, 4, 5}, []int{4, 5}},
		"an output goes up":                 {[]int{1, 2, 3, 4}, []int{3, 4}},
		"references of outputs are present": {[]int{1}, []int{1}},
	} {
		var there, want []nix.StorePath
		for _, i := range c.there {
			there = append(there, path(i))
		}
		for _, i := range c.want {
			want = append(want, path(i))
		}
		if got := nix.PathsOf(presentRoots(infos, there)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	var mirror []nix.PathInfo
	for i := range maxRoots + 1 {
		mirror = append(mirror, info(i))
	}
	if got := presentRoots(mirror, nix.PathsOf(mirror)); len(got) > 0 {
		t.Errorf("of a mirror %d paths are asked for", len(got))
	}
	if got := presentRoots(mirror[1:], nix.PathsOf(mirror)); len(got) != maxRoots {
		t.Errorf("of %d outputs %d are asked for", maxRoots, len(got))
	}
}
