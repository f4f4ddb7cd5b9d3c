package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// fakeHolder is the public side of a cache. It has the contents that a test sets.
type fakeHolder struct {
	hashes     map[nix.StorePath]string
	references map[nix.StorePath][]nix.StorePath
	err        error
}

func (h fakeHolder) Name() string { return "fake" }

func (h fakeHolder) Infos(context.Context, []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	infos, err := infosOf(h.hashes)
	for path, info := range infos {
		if references, ok := h.references[path]; ok {
			info.References = references
			infos[path] = info
		}
	}
	return infos, errors.Join(err, h.err)
}

func (h fakeHolder) Dump(_ context.Context, w io.Writer, path nix.StorePath) error {
	_, err := io.WriteString(w, "what the public has of "+path.Name())
	return err
}

const otherHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

// The contents of a path that consumers may have fetched do not change.
func TestPathWithOtherContentsInTheCacheIsNotPushed(t *testing.T) {
	release, e, evidence := newRebuilding(t)
	release.Rebuild.Without = "the test is about the first build"
	path := fakePath(e.system, "desktop", "")
	public := &fakeCachix{paths: []nix.StorePath{path}}
	release.publishTo(public)
	public.holds = fakeHolder{hashes: map[nix.StorePath]string{path: otherHash}}
	for range 2 { // the second run finds everything in the local cache, and has the same conflict
		evidence.kept = nil
		m, err := release.Run(t.Context())
		var conflict *publish.ConflictError
		if !errors.As(err, &conflict) || len(conflict.Conflicts) != 1 || conflict.Conflicts[0].Path != path {
			t.Fatalf("error %v, want a ConflictError about %s", err, path)
		}
		for _, want := range []string{"fake has other contents", otherHash, fakeHash, "bin/tool: 4 bytes differ"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q lacks %q", err, want)
			}
		}
		if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "nothing was overwritten") || !strings.Contains(hints, "ci compare "+path.Base()+".theirs.nar") {
			t.Errorf("hints:\n%s", hints)
		}
		if public.pushes > 0 || len(public.pins) > 0 || len(release.journal(t)) > 0 {
			t.Errorf("%d pushes, pins %v, journal %v", public.pushes, public.pins, release.journal(t))
		}
		want := []string{path.Base() + ".theirs: what the public has of desktop", path.Base() + ".ours: what the store has of desktop"}
		if strings.Join(evidence.kept, "\n") != strings.Join(want, "\n") {
			t.Errorf("kept %q, want %q", evidence.kept, want)
		}
		if p := m.Cells[0].Publish; p.Verdict != run.Withheld || len(p.Conflicts) != 1 || m.Cells[0].Verdict == run.Failed {
			t.Errorf("publishing is %+v, the cell %q", p, m.Cells[0].Verdict)
		}
	}
	public.holds = fakeHolder{hashes: map[nix.StorePath]string{path: fakeHash}}
	if _, err := release.Run(t.Context()); err != nil || public.pushes != 1 {
		t.Errorf("with the same contents: %v, %d pushes", err, public.pushes)
	}
}

// If the cache does not answer, the build is good, and the push can be resumed.
func TestCacheThatDoesNotAnswerIsNoConflict(t *testing.T) {
	release, e, _ := newRebuilding(t)
	public := &fakeCachix{paths: []nix.StorePath{fakePath(e.system, "desktop", "")}}
	release.publishTo(public)
	public.holds = fakeHolder{err: errors.New("no usable answer")}
	m, err := release.Run(t.Context())
	var publishErr *publish.Error
	if !errors.As(err, &publishErr) || publish.IsConflict(err) || public.pushes > 0 {
		t.Errorf("error %v, %d pushes", err, public.pushes)
	}
	if v := m.Cells[0].Publish.Verdict; v != run.Unpublished || len(release.journal(t)) != 1 {
		t.Errorf("verdict %q, journal %v", v, release.journal(t))
	}
}

// The store that a run exports into also keeps its contents.
func TestStoreWithOtherContentsIsAConflict(t *testing.T) {
	release, e, evidence := newRebuilding(t)
	path := fakePath(e.system, "headless", "")
	release.store.hashes = map[nix.StorePath]string{path: otherHash}
	m, err := release.Run(t.Context())
	if !publish.IsConflict(err) || !strings.Contains(err.Error(), "fake store has other contents: "+string(path)) {
		t.Fatalf("error %v", err)
	}
	if len(release.store.paths) > 0 || len(evidence.kept) != 2 || m.Cells[0].Verdict != run.Failed {
		t.Errorf("exported %v, kept %q, verdict %q", release.store.paths, evidence.kept, m.Cells[0].Verdict)
	}
	checkStepsHaveEnds(t, release)
}

// The same contents with other references are a conflict: Nix would fetch the object without what it needs.
func TestPathWithOtherReferencesInTheCacheIsNotPushed(t *testing.T) {
	release, e, evidence := newRebuilding(t)
	release.Rebuild.Without = "the test is about the first build"
	path := fakePath(e.system, "desktop", "")
	public := &fakeCachix{paths: []nix.StorePath{path}}
	release.publishTo(public)
	other := nix.StorePath("/nix/store/00000000000000000000000000000000-other")
	public.holds = fakeHolder{
		hashes:     map[nix.StorePath]string{path: fakeHash},
		references: map[nix.StorePath][]nix.StorePath{path: {other}},
	}
	m, err := release.Run(t.Context())
	var conflict *publish.ConflictError
	if !errors.As(err, &conflict) || len(conflict.Conflicts) != 1 || conflict.Conflicts[0].References == nil {
		t.Fatalf("error %v, want a ConflictError about references of %s", err, path)
	}
	if want := fmt.Sprintf("fake has other references: %s refers to [%s] there, and to [", path, other); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q lacks %q", err, want)
	}
	if hints := strings.Join(hint.Of(err), "\n"); !strings.Contains(hints, "nothing was overwritten: the contents are the same") {
		t.Errorf("hints:\n%s", hints)
	}
	if public.pushes > 0 || len(public.pins) > 0 || len(evidence.kept) > 0 || m.Outcome != run.OutcomeDifferent {
		t.Errorf("%d pushes, pins %v, kept %q, outcome %s", public.pushes, public.pins, evidence.kept, m.Outcome)
	}
}
