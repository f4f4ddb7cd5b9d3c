package pipelines

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// fakeHolder is the public side of a cache that says what it is told to.
type fakeHolder struct {
	hashes map[nix.StorePath]string
	err    error
}

func (h fakeHolder) Name() string { return "fake public side" }

func (h fakeHolder) NARHashes(context.Context, []nix.StorePath) (map[nix.StorePath]string, error) {
	return h.hashes, h.err
}

func (h fakeHolder) Dump(_ context.Context, w io.Writer, path nix.StorePath) error {
	_, err := io.WriteString(w, "what the public has of "+path.Name())
	return err
}

const otherHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// What consumers have got under a path stays what it was.
func TestAPathThatTheCacheHoldsOtherwiseIsNotPushed(t *testing.T) {
	run, e, evidence := newRebuilding(t)
	run.Rebuild.Without = "the test is about the first build"
	path := fakePath(e.system, "desktop", "")
	public := &fakeCachix{paths: []nix.StorePath{path}}
	run.publishTo(public)
	run.Publish.Holder, run.Publish.From = fakeHolder{hashes: map[nix.StorePath]string{path: otherHash}}, run.store
	for range 2 { // the second run finds everything in the local cache, and is no better
		evidence.kept = nil
		m, err := run.Run(t.Context())
		var conflict *ConflictError
		if !errors.As(err, &conflict) || len(conflict.Conflicts) != 1 || conflict.Conflicts[0].Path != path {
			t.Fatalf("error %v, want a ConflictError about %s", err, path)
		}
		for _, want := range []string{"fake public side has other contents", otherHash, fakeHash, "bin/tool: 4 bytes differ"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q lacks %q", err, want)
			}
		}
		if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "nothing was overwritten") || !strings.Contains(hints, "ci compare '"+path.Base()+".theirs.nar'") {
			t.Errorf("hints:\n%s", hints)
		}
		if public.pushes > 0 || len(public.pins) > 0 || len(run.journal(t)) > 0 {
			t.Errorf("%d pushes, pins %v, journal %v", public.pushes, public.pins, run.journal(t))
		}
		want := []string{path.Base() + ".theirs: what the public has of desktop", path.Base() + ".ours: what the store has of desktop"}
		if strings.Join(evidence.kept, "\n") != strings.Join(want, "\n") {
			t.Errorf("kept %q, want %q", evidence.kept, want)
		}
		if p := m.Cells[0].Publish; p.Verdict != Withheld || len(p.Conflicts) != 1 || m.Cells[0].Verdict == Failed {
			t.Errorf("publishing is %+v, the cell %q", p, m.Cells[0].Verdict)
		}
	}
	run.Publish.Holder = fakeHolder{hashes: map[nix.StorePath]string{path: fakeHash}}
	if _, err := run.Run(t.Context()); err != nil || public.pushes != 1 {
		t.Errorf("with the same contents: %v, %d pushes", err, public.pushes)
	}
}

// A cache that does not answer is no verdict on the build: the push is left to be resumed.
func TestHolderThatDoesNotAnswer(t *testing.T) {
	run, _, _ := newRebuilding(t)
	public := &fakeCachix{}
	run.publishTo(public)
	run.Publish.Holder = fakeHolder{err: errors.New("no usable answer")}
	m, err := run.Run(t.Context())
	var publish *PublishError
	if !errors.As(err, &publish) || isConflict(err) || public.pushes > 0 {
		t.Errorf("error %v, %d pushes", err, public.pushes)
	}
	if v := m.Cells[0].Publish.Verdict; v != Unpublished || len(run.journal(t)) != 1 {
		t.Errorf("verdict %q, journal %v", v, run.journal(t))
	}
}

// The store that a run exports into keeps what it has, too.
func TestAStoreThatHasOtherContents(t *testing.T) {
	run, e, evidence := newRebuilding(t)
	path := fakePath(e.system, "headless", "")
	run.store.hashes = map[nix.StorePath]string{path: otherHash}
	m, err := run.Run(t.Context())
	if !isConflict(err) || !strings.Contains(err.Error(), "fake store has other contents: "+string(path)) {
		t.Fatalf("error %v", err)
	}
	if len(run.store.paths) > 0 || len(evidence.kept) != 2 || m.Cells[0].Verdict != Failed {
		t.Errorf("exported %v, kept %q, verdict %q", run.store.paths, evidence.kept, m.Cells[0].Verdict)
	}
	checkStepsHaveEnds(t, run)
}

// Of many conflicts the first few are looked into, and all are told.
func TestManyConflicts(t *testing.T) {
	run, _, evidence := newRebuilding(t)
	hash, err := nix.ParseHash(fakeHash)
	if err != nil {
		t.Fatal(err)
	}
	held := fakeHolder{hashes: map[nix.StorePath]string{}}
	var infos []nix.PathInfo
	for i := range 10 {
		path := nix.StorePath("/nix/store/" + fakeDigest + string(rune('0'+i)) + "-x")
		infos = append(infos, nix.PathInfo{Path: path, NARHash: hash})
		held.hashes[path] = otherHash
	}
	err = run.agree(t.Context(), matrix.X8664Linux, held, infos, func(path nix.StorePath) keeper {
		return run.keepDump(run.store, path.Base()+".ours", path)
	})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(conflict.Conflicts) != 10 || !strings.HasSuffix(err.Error(), "; and 9 paths more") {
		t.Errorf("error %v", err)
	}
	if len(evidence.kept) != 2*maxExamined {
		t.Errorf("kept %q", evidence.kept)
	}
}
