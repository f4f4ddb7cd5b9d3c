package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// pushedStore is a store of a test with an object, and one that refers to it.
type pushedStore struct {
	root     string
	dep, top nix.StorePath
	environ  []string
}

func newPushedStore(t *testing.T) *pushedStore {
	t.Helper()
	if _, err := exec.LookPath("nix-instantiate"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	s := &pushedStore{root: dir}
	s.environ = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+dir, "NIX_REMOTE=local?root="+filepath.Join(dir, "store"))
	for text, path := range map[string]*nix.StorePath{
		`builtins.toFile "dep" "a dependency"`:                                &s.dep,
		`builtins.toFile "top" "see ${builtins.toFile "dep" "a dependency"}"`: &s.top,
	} {
		cmd := exec.Command("nix-instantiate", "--eval", "--read-write-mode", "--expr", text)
		cmd.Env = s.environ
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if *path, err = nix.ParseStorePath(strings.Trim(string(out), "\"\n")); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// push runs the command push against a server.
func (s *pushedStore) push(t *testing.T, server *cachixtest.Server, args ...string) (code int, log string) {
	t.Helper()
	var out, errs bytes.Buffer
	args = append([]string{"push", "--cachix-url", server.APIURL(), "--confirm-timeout", "0s", "--unrecorded", "--out", filepath.Join(s.root, "out")}, args...)
	code = execute(t.Context(), args, process{
		stdout: &out, stderr: &errs, environ: s.environ,
		secrets: secrets{defaultSecret: cachixtest.TestToken},
	})
	return code, errs.String()
}

// consumed returns an error if a real Nix cannot fetch the objects from the server.
func (s *pushedStore) consumed(t *testing.T, server *cachixtest.Server) error {
	t.Helper()
	store := t.TempDir()
	t.Cleanup(func() { makeWritable(store) })
	cmd := exec.Command("nix", "copy", "--extra-experimental-features", "nix-command", "--from", server.PublicURL(), "--to", "local?root="+store,
		"--option", "require-sigs", "true", "--option", "trusted-public-keys", server.PublicKeys()[0], string(s.top), string(s.dep))
	cmd.Env = append(os.Environ(), "HOME="+store, "XDG_CACHE_HOME="+store)
	return cmd.Run()
}

// A push detects a cache that damages what it stores. Nix rejects the same objects.
func TestPushDetectsDamagedObjects(t *testing.T) {
	t.Parallel()
	store := newPushedStore(t)
	for name, test := range map[string]struct {
		path  nix.StorePath
		spoil func(s *cachixtest.Server, hash string) error
		want  string
	}{
		"nothing": {},
		"a dependency's NAR is lost": {
			store.dep,
			func(s *cachixtest.Server, hash string) error {
				text, _ := s.NARInfo(hash)
				info, err := nix.ParseNARInfo([]byte(text))
				if err == nil {
					s.Misbehave(cachixtest.Fault{Endpoint: "nar", Path: info.URL, Status: 404})
				}
				return err
			},
			".nar.zst is not",
		},
		"a dependency's signature is wrong": {store.dep, (*cachixtest.Server).Forge, "no key that consumers trust has signed its narinfo"},
		"references are lost": {
			store.top,
			func(s *cachixtest.Server, hash string) error {
				return s.Alter(hash, func(info *gonix.NARInfo) { info.References = nil })
			},
			"its narinfo has the references [], and the object has [" + string(store.dep) + "]",
		},
		"a dependency has other contents": {
			store.dep,
			func(s *cachixtest.Server, hash string) error {
				return s.Alter(hash, func(info *gonix.NARInfo) { info.NARSize++ })
			},
			"its narinfo has the size",
		},
		"an output's NAR is damaged": {
			store.top,
			func(s *cachixtest.Server, hash string) error { s.Corrupt(hash); return nil },
			"the hash of its file is",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var server *cachixtest.Server
			var once sync.Once
			server = cachixtest.New(cachixtest.Options{Log: func(r cachixtest.Request) {
				if test.spoil == nil || r.Endpoint != "complete" || r.Hash != test.path.Digest() {
					return
				}
				once.Do(func() {
					if err := test.spoil(server, r.Hash); err != nil {
						t.Error(err)
					}
				})
			}})
			defer server.Close()
			code, log := store.push(t, server, string(store.top))
			if test.spoil == nil {
				if err := store.consumed(t, server); code != exitOK || err != nil || !strings.Contains(log, "consumers get 1 output, 1 fetched and hashed, and 1 other path") {
					t.Errorf("exit code %d, Nix says %v:\n%s", code, err, log)
				}
				return
			}
			if code != exitPublish || !strings.Contains(log, test.want) || !strings.Contains(log, " for "+string(test.path)) {
				t.Errorf("exit code %d, want %q:\n%s", code, test.want, log)
			}
			if name != "references are lost" { // Nix has only those of the narinfo
				if err := store.consumed(t, server); err == nil {
					t.Error("Nix gets it all the same")
				}
			}
		})
	}
}

// An HTML page with status 200, as from a proxy, does not make a path visible. Nothing counts as pushed, and the journal keeps
// its entries.
func TestHTMLPageIsNoAnswerToAPush(t *testing.T) {
	t.Parallel()
	store := newPushedStore(t)
	out := filepath.Join(store.root, "out")
	copied := exec.Command("nix", "copy", "--extra-experimental-features", "nix-command", "--no-check-sigs", "--to", "file://"+filepath.Join(out, "cache"), string(store.top))
	copied.Env = store.environ
	if text, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	entry := publish.JournalEntry{Cache: defaultProject.Cachix, Paths: []nix.StorePath{store.top}}
	if err := publish.NewJournal(regular.NewDir(out), "killed", nil).Add(entry); err != nil {
		t.Fatal(err)
	}
	page := cachixtest.Fault{Endpoint: "complete", Status: 200, ContentType: "text/html", Body: "<!DOCTYPE html><title>Sign in</title>"}
	server := cachixtest.New(cachixtest.Options{})
	defer server.Close()
	for _, args := range [][]string{{string(store.top)}, {"--from", filepath.Join(out, "cache")}, {"--resume"}} {
		server.Misbehave(page)
		code, log := store.push(t, server, args...)
		if code != exitPublish || !strings.Contains(log, "it is HTML, not JSON (is there a proxy in front of") {
			t.Errorf("%v: exit code %d:\n%s", args, code, log)
		}
		if len(server.Paths()) > 0 || strings.Contains(log, "2 paths,") || server.OpenUploads() > 0 {
			t.Errorf("%v: %q are there, %d uploads are open:\n%s", args, server.Paths(), server.OpenUploads(), log)
		}
		server.Behave()
	}
	// A resumed push confirms the entries, and keeps them until then.
	spoil := cachixtest.Fault{Endpoint: "nar", Status: 404}
	server.Misbehave(spoil)
	if code, log := store.push(t, server, "--resume"); code != exitPublish || !strings.Contains(log, "its narinfo is there, but its NAR ") {
		t.Errorf("a resumed push to a cache that loses NARs: exit code %d:\n%s", code, log)
	}
	server.Behave()
	code, log := store.push(t, server, "--resume")
	if err := store.consumed(t, server); code != exitOK || err != nil || !strings.Contains(log, "consumers get 1 output, 1 fetched and hashed") {
		t.Errorf("exit code %d, Nix says %v:\n%s", code, err, log)
	}
	if left, err := publish.OpenJournals(regular.NewDir(out), nil); len(left) > 0 || err != nil {
		t.Errorf("%d journals are left, error %v", len(left), err)
	}
}

// An object with other references in the cache is a conflict, like one with other contents, even if its signature is good:
// Nix accepts it, and lacks its references.
func TestPushRefusesOtherReferences(t *testing.T) {
	t.Parallel()
	store := newPushedStore(t)
	server := cachixtest.New(cachixtest.Options{})
	defer server.Close()
	if code, log := store.push(t, server, string(store.top)); code != exitOK {
		t.Fatalf("exit code %d:\n%s", code, log)
	}
	if err := server.Alter(store.top.Digest(), func(info *gonix.NARInfo) { info.References = nil }); err != nil {
		t.Fatal(err)
	}
	server.Reset()
	code, log := store.push(t, server, string(store.top))
	want := "has other references: " + string(store.top) + " refers to [] there, and to [" + string(store.dep) + "] here"
	if code != exitDifferent || !strings.Contains(log, want) {
		t.Errorf("exit code %d, want %q:\n%s", code, want, log)
	}
	if n := server.Count("create"); n > 0 {
		t.Errorf("%d uploads were begun", n)
	}
}
