package run

import (
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// ReferencesConflict has the references of one path in a cache and here, sorted.
type ReferencesConflict struct {
	Theirs []nix.StorePath `json:"theirs"`
	Ours   []nix.StorePath `json:"ours"`
}

// Conflict is a path under which a cache has other contents than ours, or other references.
type Conflict struct {
	Path nix.StorePath `json:"path"`
	// Theirs and Ours are the NAR hashes, in SRI form.
	Theirs string `json:"theirs"`
	Ours   string `json:"ours"`
	// References are those on both sides, where they differ.
	References *ReferencesConflict `json:"references,omitempty"`
	// Kept are the files of the cache's NAR and of ours, Page is one that shows their differences, and Files says of
	// the first few files in them in what they differ.
	Kept  []string `json:"kept,omitempty"`
	Page  string   `json:"page,omitempty"`
	Files []string `json:"files,omitempty"`
}

// Pushing is how far a push is.
type Pushing struct {
	Paths   int   `json:"paths"` // that are visible
	OfPaths int   `json:"ofPaths"`
	Bytes   int64 `json:"bytes"` // of NARs, read
	OfBytes int64 `json:"ofBytes"`
	Sent    int64 `json:"sent"` // compressed bytes that the cache has taken
}

// Pushed is what came of a push.
type Pushed struct {
	Added []nix.Added
	// There counts the paths that the cache had, Upstream those that consumers get from another cache.
	There, Upstream int
	// Left is what should have been pushed and was not.
	Left []nix.StorePath
}

// PublishResult is what came of publishing a cell.
type PublishResult struct {
	Verdict PublishVerdict `json:"verdict"`
	Cache   string         `json:"cache,omitempty"`
	// Reason is why nothing, or not all, was published.
	Reason string `json:"reason,omitempty"`
	// Added counts the store objects that the run has made visible, There those that the cache had,
	// Upstream those that consumers get from another cache, Left those that are still to be published.
	Added    int `json:"added"`
	There    int `json:"there"`
	Upstream int `json:"upstream"`
	Left     int `json:"left,omitempty"`
	// NARBytes is the size of what was added, FileBytes what was sent of it.
	NARBytes   int64                  `json:"narBytes,omitempty"`
	FileBytes  int64                  `json:"fileBytes,omitempty"`
	Seconds    float64                `json:"seconds,omitempty"`
	AddedPaths map[nix.StorePath]bool `json:"-"` // those objects

	// Pins are the names under which outputs were pinned.
	Pins []string `json:"pins,omitempty"`
	// Conflicts are the paths under which the cache has other contents. Then nothing is pushed.
	Conflicts []Conflict `json:"conflicts,omitempty"`
}

// PublishVerdict is the end of publishing in one word. It is not the build's: a build can be good and a cache be down.
type PublishVerdict string

// The verdicts of publishing.
const (
	Published   PublishVerdict = "published"     // all is in the cache, and consumers see it
	NotWanted   PublishVerdict = "not wanted"    // no secret, or the command line says so
	Withheld    PublishVerdict = "withheld"      // it must not be published: Reason says why
	Unpublished PublishVerdict = "unpublished"   // it should be, and was not, or not all of it
	Unconfirmed PublishVerdict = "not confirmed" // all was pushed, and a consumer does not get it
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

// PushPlan is what a push of a cell would send, as far as that is known before it is built.
type PushPlan struct {
	Cache string `json:"cache"`
	// Push is what would go up, largest first; Bytes is the size of their NARs.
	Push  []nix.StorePath `json:"push"`
	Bytes int64           `json:"bytes"`
	// There counts the paths that the cache has, Upstream those that consumers get from another cache.
	There    int `json:"there"`
	Upstream int `json:"upstream"`
	// Unbuilt counts the outputs that are to be built or fetched first; what their closures have is not known.
	Unbuilt int `json:"unbuilt,omitempty"`
}

func (p PushPlan) String() string {
	text := fmt.Sprintf("push %s, %.1f MiB of NARs; %d there, %d upstream", Count(len(p.Push), "path"), float64(p.Bytes)/(1<<20), p.There, p.Upstream)
	if p.Unbuilt > 0 {
		text += fmt.Sprintf("; and %s yet to be made", Count(p.Unbuilt, "output"))
	}
	return text
}
