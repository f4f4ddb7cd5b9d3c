package publish

import (
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// A journal that is read contains only store paths.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"version": 1, "entries": [{"system": "x86_64-linux", "cache": "c", "paths": ["/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello"]}]}`))
	f.Add([]byte(`{"version": 1, "entries": [{"cache": "../x", "paths": ["/etc/passwd", "--option"]}]}`))
	f.Add([]byte(`{"version": 2, "entries": null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parseJournal(data)
		if err != nil {
			return
		}
		j := &Journal{entries: file.Entries}
		if len(j.Caches()) != len(j.Entries()) {
			t.Errorf("%d caches of %d entries", len(j.Caches()), len(j.Entries()))
		}
		for _, e := range j.Entries() {
			for _, p := range e.Paths {
				if _, err := nix.ParseStorePath(string(p)); err != nil {
					t.Error(err)
				}
			}
		}
		for _, p := range file.Pins {
			if _, err := nix.ParseStorePath(string(p)); err != nil {
				t.Error(err)
			}
		}
	})
}
