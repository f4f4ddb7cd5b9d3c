package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
)

// A push by hand may send objects that the record has with the same contents and without an objection.
func TestPushOfRecordedObjects(t *testing.T) {
	r, err := record.Open(filepath.Join(t.TempDir(), "record"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	hash, err := nix.ParseHash("sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
	if err != nil {
		t.Fatal(err)
	}
	info := nix.PathInfo{Path: "/nix/store/lv1a9jfgfbh0lqzgmqp9i1h6yc2ii8wd-hello", NARHash: hash, NARSize: 1}
	other := info
	other.References = []nix.StorePath{info.Path}
	change := func(f func(*record.Object)) {
		if err := r.Change([]nix.StorePath{info.Path}, f); err != nil {
			t.Fatal(err)
		}
	}
	check := func(name string, info nix.PathInfo, o pushOptions, want string) {
		t.Helper()
		err := pushing{pushOptions: o, record: r}.permit([]nix.PathInfo{info}, publish.Consent{Unsandboxed: o.publish.unsandboxed})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
	const unknown = "no run of this user has recorded these contents"
	check("no record", info, pushOptions{}, unknown)
	check("no record, consent", info, pushOptions{unrecorded: true}, "")
	if err := r.Note("run", []nix.PathInfo{info}); err != nil {
		t.Fatal(err)
	}
	check("recorded", info, pushOptions{}, "")
	check("recorded with other references", other, pushOptions{}, unknown)
	signed := info
	signed.Signatures = []string{strings.Split(defaultProject.TrustedKeys[0], ":")[0] + ":" + strings.Repeat("A", 86) + "=="}
	check("an invalid signature", signed, pushOptions{}, "")
	signed.References = other.References
	check("an invalid signature, and other references", signed, pushOptions{}, unknown)

	change(func(o *record.Object) { o.Sandbox = record.SandboxOff })
	check("without a sandbox", info, pushOptions{unrecorded: true}, "built without a sandbox")
	consent := pushOptions{}
	consent.publish.unsandboxed = true
	check("without a sandbox, consent", info, consent, "")
	change(func(o *record.Object) { o.Sandbox = record.WritableInputs })
	check("with inputs that builders can change", info, consent, "builders can change their inputs")
	change(func(o *record.Object) { o.Sandbox, o.Second = record.SandboxOn, record.Different })
	check("a second build differed", info, pushOptions{unrecorded: true}, "a second build differed")

	file := filepath.Join(r.Path(), "objects", info.Path.Base()+".json")
	writeTest(t, file, "{")
	check("an entry that cannot be read", info, pushOptions{unrecorded: true}, "read record "+file)
}
