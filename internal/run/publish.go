package run

import (
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// ReferencesConflict has the references of a store path in a cache and here, sorted.
type ReferencesConflict struct {
	Theirs []nix.StorePath `json:"theirs"`
	Ours   []nix.StorePath `json:"ours"`
}

// Conflict is a store path with other contents or other references in a cache than here.
type Conflict struct {
	Path nix.StorePath `json:"path"`
	// Theirs and Ours are the NAR hashes, in SRI form.
	Theirs string `json:"theirs"`
	Ours   string `json:"ours"`
	// References are the references on both sides; nil if they are the same.
	References *ReferencesConflict `json:"references,omitempty"`
	// Kept are the files with the cache's NAR and ours. Page is a file that shows their differences, and Files has a line
	// for each of the first few files that differ.
	Kept  []string `json:"kept,omitempty"`
	Page  string   `json:"page,omitempty"`
	Files []string `json:"files,omitempty"`
}

// PushProgress is the progress of a push.
type PushProgress struct {
	Paths   int   `json:"paths"` // store objects that are visible
	OfPaths int   `json:"ofPaths"`
	Bytes   int64 `json:"bytes"` // of NARs, read and compressed
	OfBytes int64 `json:"ofBytes"`
	Sent    int64 `json:"sent"` // compressed bytes that the storage has received
}

// Pushed is the result of a push.
type Pushed struct {
	// Added has the store objects that the push has made visible, in that order.
	Added []nix.Added
	// There counts the paths that the cache had, Upstream those that users get from another cache.
	There, Upstream int
	// Left has the store objects that were not pushed, although they should have been.
	Left []nix.StorePath
}

// PublishResult is the result of publishing a cell.
type PublishResult struct {
	Verdict PublishVerdict `json:"verdict"`
	Cache   string         `json:"cache,omitempty"`
	// Reason says why nothing, or not all, was published.
	Reason string `json:"reason,omitempty"`
	// Added counts the store objects that the run added, There those that the cache had, Upstream those that users get
	// from another cache, and Left those that are still to be published.
	Added    int `json:"added"`
	There    int `json:"there"`
	Upstream int `json:"upstream"`
	Left     int `json:"left,omitempty"`
	// NARBytes is the size of the added NARs, FileBytes their compressed size.
	NARBytes   int64                  `json:"narBytes,omitempty"`
	FileBytes  int64                  `json:"fileBytes,omitempty"`
	Seconds    float64                `json:"seconds,omitempty"`
	AddedPaths map[nix.StorePath]bool `json:"-"` // the store objects that Added counts

	// Pins are the names under which outputs were pinned.
	Pins []string `json:"pins,omitempty"`
	// Conflicts are the paths with other contents in the cache. Nothing is pushed if there is one.
	Conflicts []Conflict `json:"conflicts,omitempty"`
}

// PublishVerdict is the result of publishing in one word. It says nothing about the build.
type PublishVerdict string

// The verdicts of publishing.
const (
	Published   PublishVerdict = "published"     // the cache has everything, and users get it
	NotWanted   PublishVerdict = "not wanted"    // no secret, or the command line says so
	Withheld    PublishVerdict = "withheld"      // it must not be published, for Reason
	Unpublished PublishVerdict = "unpublished"   // it should be published, and was not, or only in part
	Unconfirmed PublishVerdict = "not confirmed" // all was pushed, and users do not get it
)

func (p *PublishResult) Count(pushed Pushed) {
	p.Added, p.There, p.Upstream, p.Left = len(pushed.Added), pushed.There, pushed.Upstream, len(pushed.Left)
	p.AddedPaths = make(map[nix.StorePath]bool, len(pushed.Added))
	for _, a := range pushed.Added {
		p.AddedPaths[a.Path] = true
		p.NARBytes += a.NARSize
		p.FileBytes += a.FileSize
	}
}

func (p PublishResult) String() string {
	text := fmt.Sprintf("%s, %s", Count(p.Added, "path"), Sizes(p.NARBytes, p.FileBytes))
	if p.Added == 0 {
		text = "nothing new"
	}
	if p.There > 0 {
		text += fmt.Sprintf("; %d there", p.There)
	}
	if p.Upstream > 0 {
		text += fmt.Sprintf("; %d upstream", p.Upstream)
	}
	return text
}
