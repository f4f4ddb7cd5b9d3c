package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// pastCommit is a commit of a flake's history: where its lock has foo, and the text of its table of hashes.
type pastCommit struct{ foo, hashes string }

// lockOf returns a Cargo.lock with foo at that commit; without packages where the commit is empty.
func lockOf(foo string) string {
	if foo == "" {
		return "version = 4\n"
	}
	return strings.ReplaceAll(twoLock, strings.Repeat("1", 40), foo)
}

func tableOf(hashes string) string {
	return "{\n  lockFile = ./Cargo.lock;\n  outputHashes = {\n" + hashes + "  };\n}\n"
}

// files returns the files of the commit.
func (p pastCommit) files() map[string]string {
	if p.hashes == "" {
		return map[string]string{"Cargo.lock": lockOf(p.foo)}
	}
	return map[string]string{"Cargo.lock": lockOf(p.foo), "a.nix": tableOf(p.hashes)}
}

// past is a history of commits, the newest first. It counts those that were visited.
type past struct {
	commits  []pastCommit
	complete bool
	err      error
	visited  int
}

func (p *past) history(_ []string, _ string, visit Visit) (bool, error) {
	for i, c := range p.commits {
		p.visited++
		read := func(file string) ([]byte, error) {
			if text, ok := c.files()[file]; ok {
				return []byte(text), nil
			}
			return nil, fmt.Errorf("read %s: %w", file, fs.ErrNotExist)
		}
		if more, err := visit(fmt.Sprintf("%040d", len(p.commits)-i), read); err != nil || !more {
			return err == nil, err
		}
	}
	return p.complete, p.err
}

var (
	oldRev, newRev = strings.Repeat("a", 40), strings.Repeat("b", 40)
	fooLine        = `    "foo-0.1.0" = "` + fooHash + "\";\n"
	otherFoo       = `    "foo-0.1.0" = "` + barHash + "\";\n"
	barLine        = `    "bar-0.2.0" = "` + barHash + "\";\n"
)

// A commit that changed while its hash stayed is a warning, with the lines of both. Such hashes have broken releases.
func TestMovedHashes(t *testing.T) {
	tree := pastCommit{newRev, fooLine + barLine}
	const moved = "foo-0.1.0 moved from aaaaaaa to bbbbbbb in Cargo.lock:9, and its hash in a.nix:4 is still the one of commit "
	for name, test := range map[string]struct {
		past    past
		status  Status
		reason  string
		visited int
	}{
		"the lock moved":                                 {past{complete: true, commits: []pastCommit{tree, {oldRev, fooLine}, {oldRev, ""}}}, Warn, moved + "0000000", 3},
		"the lock moved and is not committed":            {past{complete: true, commits: []pastCommit{{oldRev, fooLine + barLine}}}, Warn, moved + "0000000", 1},
		"the hash moved with it":                         {past{complete: true, commits: []pastCommit{tree, {oldRev, otherFoo + barLine}, {oldRev, otherFoo}, {oldRev, ""}}}, Pass, "", 3},
		"the hash moved and is not committed":            {past{complete: true, commits: []pastCommit{{oldRev, otherFoo + barLine}, {oldRev, otherFoo}}}, Pass, "", 2},
		"the hash moved later":                           {past{complete: true, commits: []pastCommit{tree, {newRev, otherFoo + barLine}, {oldRev, otherFoo}}}, Pass, "", 3},
		"nothing moved":                                  {past{complete: true, commits: []pastCommit{tree}}, Pass, "", 1},
		"the hash was there before the package":          {past{complete: true, commits: []pastCommit{tree, {"", fooLine + barLine}}}, Pass, "", 2},
		"the history is cut off":                         {past{commits: []pastCommit{tree}}, Skip, "the history that was searched does not show for which commit each hash was set", 1},
		"the history is cut off behind it":               {past{commits: []pastCommit{tree, {newRev, otherFoo}}}, Pass, "", 2},
		"no history":                                     {past{err: errors.New("it is not a git repository")}, Skip, "it is not a git repository", 0},
		"a warning takes precedence over unknown hashes": {past{commits: []pastCommit{tree, {oldRev, fooLine + barLine}, {oldRev, barLine}}}, Warn, moved + "0000000", 3},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tree.files() {
				write(t, filepath.Join(dir, file), text)
			}
			h := &Hashes{Lock: "Cargo.lock", Files: []string{"a.nix"}}
			got := h.MovedHashes(dir, test.past.history)
			if got.Check != "hashes/history" || got.Status != test.status || !strings.HasPrefix(got.Reason, test.reason) || (test.reason == "") != (got.Reason == "") {
				t.Errorf("%+v\nwant %s: %s", got, test.status, test.reason)
			}
			if got.Status == Warn && (Where(got) != "a.nix:4" || !strings.Contains(got.Fix, "a.nix:4")) {
				t.Errorf("at %s: %s, want a.nix:4", Where(got), got.Fix)
			}
			if test.past.visited != test.visited {
				t.Errorf("%d commits were visited, want %d", test.past.visited, test.visited)
			}
		})
	}
}

func TestMovedHashesHasTheHint(t *testing.T) {
	dir := t.TempDir()
	for file, text := range (pastCommit{newRev, fooLine}).files() {
		write(t, filepath.Join(dir, file), text)
	}
	cut := past{err: hint.Wrap(errors.New("the clone is shallow"), "git fetch --unshallow"), commits: []pastCommit{{newRev, fooLine}}}
	got := (&Hashes{Lock: "Cargo.lock", Files: []string{"a.nix"}}).MovedHashes(dir, cut.history)
	want := Result{Check: "hashes/history", Status: Skip, Reason: "the clone is shallow", Fix: "git fetch --unshallow"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

// What cannot be read, in the tree or in its history, is skipped. Without git dependencies the check passes.
func TestUnreadableMovedHashes(t *testing.T) {
	const unread, imported = "hashes of a.nix could not be read", `{ lockFile = ./Cargo.lock; outputHashes = import ./hashes.nix; }`
	readable := tableOf(fooLine + barLine)
	for name, test := range map[string]struct {
		lock, text, past string // past is the lock of the one commit
		status           Status
		reason           string
		visited          int
	}{
		"another file":       {twoLock, imported, twoLock, Skip, unread, 0},
		"one expression":     {twoLock, tableOf(fooLine + "    \"bar-0.2.0\" = bar;\n"), twoLock, Skip, unread, 1},
		"a lock of the past": {twoLock, readable, "[[package]", Skip, "the history that was searched does not show", 1},
		"a lock of today":    {"[[package]", readable, twoLock, Skip, "parse Cargo.lock", 0},
		"no git dependency":  {"version = 4\n", imported, twoLock, Pass, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "Cargo.lock"), test.lock)
			write(t, filepath.Join(dir, "a.nix"), test.text)
			visited := 0
			got := (&Hashes{Lock: "Cargo.lock", Files: []string{"a.nix"}}).MovedHashes(dir, func(_ []string, _ string, visit Visit) (bool, error) {
				visited++
				_, err := visit(strings.Repeat("c", 40), func(file string) ([]byte, error) {
					return []byte(map[string]string{"Cargo.lock": test.past, "a.nix": test.text}[file]), nil
				})
				return true, err
			})
			if got.Status != test.status || !strings.HasPrefix(got.Reason, test.reason) || (test.reason == "") != (got.Reason == "") || visited != test.visited {
				t.Errorf("%+v after %d visits, want %s: %s", got, visited, test.status, test.reason)
			}
		})
	}
}
