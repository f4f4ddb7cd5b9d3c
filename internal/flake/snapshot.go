package flake

import "time"

// Snapshot is the exact tree of a flake that a run builds.
//
// It is a directory in which every file has the same modification time, so that Nix evaluates
// path:<dir>?lastModified=…&rev=…&narHash=… with the same attributes as github:owner/repo/<rev> for a consumer.
type Snapshot struct {
	// Dir is the tree on this machine, which exists until the end of the run.
	Dir string `json:"-"`
	// Subdir is the flake's directory within the tree ("?dir="); empty for its root.
	Subdir string `json:"subdir,omitempty"`
	// URL is the flake reference that a consumer would lock, such as "github:owner/repo/<rev>".
	URL string `json:"url"`
	// Rev is the commit's full hash; empty if the tree is not of one commit.
	Rev string `json:"rev,omitempty"`
	// NARHash is the SRI hash of the tree as a NAR.
	NARHash string `json:"narHash"`
	// LastModified is the commit's time, in seconds since 1970.
	LastModified int64 `json:"lastModified"`
	// Dirty says that the tree differs from its commit. A dirty tree is built but never published.
	Dirty bool `json:"dirty"`
	// LockHash is the SRI SHA-256 of the flake.lock file; empty if there is none.
	LockHash string `json:"lockHash,omitempty"`
	// Overrides are the inputs that were replaced, by input path. Consumers evaluate other inputs.
	Overrides map[string]string `json:"overrides,omitempty"`
	// Untracked has a few untracked files. Nix does not see them, which is often why a file is missing.
	Untracked []string `json:"-"`
	// LeftOut has the directories of the flake that are not part of the tree, since they contain results of runs.
	LeftOut []string `json:"-"`
}

// ModTime returns the time of every file of the tree.
func (s Snapshot) ModTime() time.Time { return time.Unix(s.LastModified, 0) }
