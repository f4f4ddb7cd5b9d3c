package flake

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// LockedRef is a flake reference as attributes. Each fetcher of Nix has its own attributes; these are the ones that a
// reference needs. They may hold credentials.
type LockedRef struct {
	Type                string
	URL, Path           string
	Owner, Repo, ID     string
	Host, Dir, Ref, Rev string
	DirtyRev            string // of a repository with uncommitted changes
	Submodules          bool
	NARHash             string
	LastModified        int64
}

// url returns the flake reference, in the form that Nix takes on a command line, without credentials.
func (l *LockedRef) url() (string, error) {
	params := map[string]string{"dir": l.Dir}
	var base string
	switch l.Type {
	case "github", "gitlab", "sourcehut":
		base = l.Type + ":" + segments(l.Owner, l.Repo, l.Rev)
		params["host"] = l.Host
		if l.Rev == "" {
			params["ref"] = l.Ref
		}
	case "git", "hg":
		base = l.Type + "+" + l.URL
		params["ref"], params["rev"] = l.Ref, l.Rev
		if l.Submodules {
			params["submodules"] = "1"
		}
	case "tarball", "file":
		base = l.Type + "+" + l.URL
	case "path":
		base = "path:" + l.Path
	case "indirect":
		base = "flake:" + segments(l.ID, l.Ref, l.Rev)
	default:
		return "", fmt.Errorf("a reference of type %q is not known", l.Type)
	}
	return nix.Redact(withQuery(base, params)), nil
}

// segments joins those that are not empty. The owner of a GitLab repository may have a slash, which Nix requires encoded.
func segments(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, url.PathEscape(p))
		}
	}
	return strings.Join(kept, "/")
}
