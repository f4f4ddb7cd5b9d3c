package outcache

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Two runs find the same damage. The object that the first run has imported stays when the second run sets the damaged
// one aside. So do the files of other objects.
func TestTwoRunsReplaceTheSameDamage(t *testing.T) {
	paths := []nix.StorePath{dep, top}
	r := newResults(t)
	info, err := r.dir.Info(dep)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(r.dir.Name(), info.URL), func(s string) string { return s[:50] + string(s[50]&63+1) + s[51:] })
	first, second := r.open(), r.open()
	for _, s := range []*Store{first, second} {
		if _, err := s.examineAll(t.Context(), paths); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.SetAside(t.Context(), paths); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Import(t.Context(), bytes.NewReader(r.stream)); err != nil {
		t.Fatal(err)
	}
	if err := second.setAside(t.Context(), paths); err != nil {
		t.Fatal(err)
	}
	if err := first.Verify(t.Context(), paths); err != nil {
		t.Error(err)
	}
}

// A damaged narinfo can name the file of an undamaged object.
func TestFilesOfOtherObjectsStay(t *testing.T) {
	r := newResults(t)
	info, err := r.dir.Info(dep)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, filepath.Join(r.dir.Name(), top.Digest()+".narinfo"), func(s string) string {
		before, after, _ := strings.Cut(s, "URL: ")
		_, after, _ = strings.Cut(after, "\n")
		return before + "URL: " + info.URL + "\n" + after
	})
	r.build(t) // which verifies both
	if _, err := os.Stat(filepath.Join(r.dir.Name(), info.URL)); err != nil {
		t.Error(err)
	}
}
