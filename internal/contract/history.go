package contract

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// Visit is called with a commit, and a function that reads a file of the flake in that commit. The error of a file that
// the commit does not have wraps [fs.ErrNotExist]. Visit returns whether it needs the next commit.
type Visit = func(commit string, read func(file string) ([]byte, error)) (more bool, err error)

// History visits the commits of the flake's repository that changed one of the files, the newest first. It returns false
// where older ones are missing, as in a shallow clone, and an error where there is no history. Visit reads these files
// and a further one.
type History = func(files []string, further string, visit Visit) (complete bool, err error)

// datedHash is a hash of the tree, with the commit in which it was set.
type datedHash struct {
	hashEntry
	// set is the oldest commit since which the hash has not changed; empty where no commit has it.
	set     string
	changed bool // an older commit has another hash, or none
}

// MovedHashes warns of hashes of git dependencies whose commit in Cargo.lock has changed since the hash was set. Such a
// hash is most likely stale. No build notices that, where a store still has the source of the old commit.
func (h *Hashes) MovedHashes(tree string, history History) Result {
	return named("hashes/history", h.moved(tree, history))[0]
}

func (h *Hashes) moved(tree string, history History) (found []Result) {
	packages, tables, err := h.read(tree)
	switch {
	case err != nil:
		return skip("%v", err)
	case len(packages) == 0:
		return nil
	}
	hashes, found := dated(tables)
	if len(hashes) == 0 {
		return append(found, skip("there are no hashes to compare with the history")...)
	}
	locks := map[string][]gitPackage{} // by commit; none where the lock could not be parsed
	complete, err := history(h.Files, h.Lock, func(commit string, read func(string) ([]byte, error)) (bool, error) {
		if err := h.date(hashes, commit, read); err != nil {
			return false, err
		}
		if slices.ContainsFunc(hashes, func(d *datedHash) bool { return d.set == commit }) {
			lock, err := read(h.Lock)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return false, err
			}
			if then, err := parseCargoLock(h.Lock, lock); err == nil {
				locks[commit] = then
			}
		}
		return slices.ContainsFunc(hashes, func(d *datedHash) bool { return !d.changed }), nil
	})
	unknown := false
	for _, d := range hashes {
		then, parsed := locks[d.set]
		if !d.changed && !complete || d.set != "" && !parsed {
			unknown = true
		} else if d.set != "" {
			found = append(found, d.moved(h.Lock, then)...)
		}
	}
	switch {
	case unknown && err != nil:
		found = append(found, Result{Status: Skip, Reason: err.Error(), Fix: strings.Join(hint.Of(err), "\n")})
	case unknown:
		found = append(found, skip("the history that was searched does not show for which commit each hash was set")...)
	}
	return found
}

// dated returns the hashes that belong to a package in the lock, and results for those that cannot be read.
func dated(tables []hashTable) (all []*datedHash, unread []Result) {
	for _, t := range tables {
		if t.unreadable != nil && t.unreadable.Status != Skip {
			unread = append(unread, Result{Status: Skip, Reason: t.unreadable.Reason, File: t.file})
		} else if t.unreadable != nil || slices.ContainsFunc(t.entries, func(e hashEntry) bool { return e.expression != "" }) {
			unread = append(unread, Result{Status: Skip, Reason: "hashes of " + t.file + " could not be read", File: t.file, Line: t.line})
		}
		for _, e := range t.entries {
			if e.source != nil && e.sri != "" {
				all = append(all, &datedHash{hashEntry: e})
			}
		}
	}
	return all, unread
}

// date compares the hashes with those of a commit that is older than the commits before.
func (h *Hashes) date(hashes []*datedHash, commit string, read func(string) ([]byte, error)) error {
	for _, file := range h.Files {
		var there []hashEntry
		text, err := read(file)
		switch {
		case err == nil:
			for _, t := range parseHashes(file, string(text), h.Lock) {
				there = append(there, t.entries...)
			}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		for _, d := range hashes {
			switch {
			case d.file != file || d.changed:
			case slices.ContainsFunc(there, func(e hashEntry) bool { return e.name == d.name && e.sri == d.sri }):
				d.set = commit
			default:
				d.changed = true
			}
		}
	}
	return nil
}

// moved warns where the lock had another commit when the hash was set.
func (d *datedHash) moved(lock string, then []gitPackage) []Result {
	before := packageNamed(then, d.name)
	if before == nil || before.commit == d.source.commit {
		return nil
	}
	return []Result{{
		Status: Warn, File: d.file, Line: d.line, Wanted: fmt.Sprintf("a hash of %.7s", d.source.commit), Found: d.hash,
		Reason: fmt.Sprintf("%s moved from %.7s to %.7s in %s:%d, and its hash in %s:%d is still the one of commit %.7s",
			d.name, before.commit, d.source.commit, lock, d.source.line, d.file, d.line, d.set),
		Fix: fmt.Sprintf("replace the hash in %s:%d by lib.fakeHash and build once; the error states the right value", d.file, d.line),
	}}
}
