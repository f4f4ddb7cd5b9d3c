package flake

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// LockedRef is a flake reference as attributes. Each fetcher of Nix has its own; these are those that the reference needs.
// They may hold credentials.
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

// url returns the flake reference, in the form that Nix takes on a command line.
func (l *LockedRef) url() (string, error) {
	params := [][2]string{{"dir", l.Dir}}
	var base string
	switch l.Type {
	case "github", "gitlab", "sourcehut":
		base = l.Type + ":" + segments(l.Owner, l.Repo, l.Rev)
		params = append(params, [2]string{"host", l.Host})
		if l.Rev == "" {
			params = append(params, [2]string{"ref", l.Ref})
		}
	case "git", "hg":
		base = l.Type + "+" + l.URL
		params = append(params, [2]string{"ref", l.Ref}, [2]string{"rev", l.Rev})
		if l.Submodules {
			params = append(params, [2]string{"submodules", "1"})
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
	for _, p := range params {
		if p[1] == "" {
			continue
		}
		sep := "?"
		if strings.Contains(base, "?") {
			sep = "&"
		}
		base += sep + p[0] + "=" + slashes.Replace(url.QueryEscape(p[1]))
	}
	return nix.Redact(base), nil
}

// slashes stand for themselves in the parameters of a URL, and a plus sign for itself and no space.
var slashes = strings.NewReplacer("%2F", "/", "+", "%20")

// segments joins those that are not empty. An owner of GitLab may have a slash, which Nix wants encoded.
func segments(parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p != "" {
			kept = append(kept, url.PathEscape(p))
		}
	}
	return strings.Join(kept, "/")
}
