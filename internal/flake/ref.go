package flake

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Kind is the type of a flake reference.
type Kind string

// The kinds of flake references. A local one has no scheme: it is a checkout of git, a bare repository, or any other
// directory. The last three are only in a flake.lock.
const (
	KindLocal     Kind = "local"
	KindPath      Kind = "path"
	KindGit       Kind = "git"
	KindGitHub    Kind = "github"
	KindGitLab    Kind = "gitlab"
	KindSourceHut Kind = "sourcehut"
	KindTarball   Kind = "tarball"

	kindFile      Kind = "file"
	kindMercurial Kind = "hg"
	kindIndirect  Kind = "indirect"
)

// hasURL reports whether references of the kind have a URL after the name of the kind.
func (k Kind) hasURL() bool {
	return k == KindGit || k == KindTarball || k == kindFile || k == kindMercurial
}

// Ref is a flake reference in its parts, which have the names of a flake.lock:
// https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#flake-references.
// It is comparable. Its fields may hold secrets; what String returns does not.
type Ref struct {
	Kind Kind `json:"type"`
	// Path is the directory of a local or path reference, clean but possibly relative.
	Path string
	// URL is the URL of git ("https://…", "ssh://…", "file:///…") or of a tarball, without the parameters of Nix. It may
	// hold credentials.
	URL string
	// Host, Owner and Repo are for github, gitlab and sourcehut. Owner has slashes for a subgroup of GitLab.
	Host, Owner, Repo string
	// ID is the name of an indirect reference in a registry.
	ID string
	// Ref is a branch or tag, Rev the 40 hexadecimal digits of a commit.
	Ref, Rev string
	// DirtyRev is the commit of a locked repository with uncommitted changes.
	DirtyRev string
	// Dir is the flake's directory within the tree, clean and with slashes; empty for its root.
	Dir string
	// Submodules says that the tree includes the trees of its submodules.
	Submodules bool
	// NARHash is the SRI hash that the tree must have; empty for any.
	NARHash string
	// LastModified is the time of the tree, in seconds since 1970; 0 if it is not known yet.
	LastModified int64
}

// IsLocal reports whether the reference is to a directory or file of this machine.
func (r Ref) IsLocal() bool {
	return r.Kind == KindLocal || r.Kind == KindPath || localURL.MatchString(r.URL)
}

// String returns the reference as Nix writes it, without credentials, for logs and lock files.
func (r Ref) String() string {
	params := map[string]string{"dir": r.Dir, "narHash": r.NARHash}
	if r.LastModified != 0 {
		params["lastModified"] = strconv.FormatInt(r.LastModified, 10)
	}
	if r.Submodules {
		params["submodules"] = "1"
	}
	switch r.Kind {
	case KindGitHub, KindGitLab, KindSourceHut:
		params["host"] = r.Host
		parts := []string{url.PathEscape(r.Owner), url.PathEscape(r.Repo)}
		if at := cmp.Or(r.Rev, r.Ref); at != "" {
			parts = append(parts, (&url.URL{Path: at}).EscapedPath())
		}
		return withQuery(string(r.Kind)+":"+strings.Join(parts, "/"), params)
	case kindIndirect:
		return withQuery("flake:"+path.Join(r.ID, r.Ref, r.Rev), params)
	case KindTarball, kindFile: // their URL has the revision, if the lock names one
		return withQuery(string(r.Kind)+"+"+withoutCredentials(r.URL), params)
	}
	params["ref"], params["rev"] = r.Ref, r.Rev
	switch r.Kind {
	case KindLocal:
		return withQuery(r.Path, params)
	case KindPath:
		return withQuery("path:"+(&url.URL{Path: r.Path}).EscapedPath(), params)
	default:
		return withQuery(string(r.Kind)+"+"+withoutCredentials(r.URL), params)
	}
}

// CloneURL returns the URL that git clones; empty if the reference is not to a repository.
func (r Ref) CloneURL() string {
	switch r.Kind {
	case KindGit:
		return r.URL
	case KindGitHub, KindGitLab, KindSourceHut:
		host, suffix := r.Host, ".git"
		if host == "" {
			host = defaultHost[r.Kind]
		}
		if r.Kind == KindSourceHut {
			suffix = ""
		}
		return "https://" + host + "/" + r.Owner + "/" + r.Repo + suffix
	default:
		return ""
	}
}

var defaultHost = map[Kind]string{
	KindGitHub:    "github.com",
	KindGitLab:    "gitlab.com",
	KindSourceHut: "git.sr.ht",
}

// RemoteRef returns the reference that a consumer would use for the repository of a clone URL, such as that of the remote
// "origin". It is a reference to the forge if Nix has a fetcher for the forge. It never has credentials, so the user name
// of an HTTPS URL is removed too.
func RemoteRef(cloneURL string) (Ref, error) {
	ref, err := ParseRef(strings.TrimPrefix(cloneURL, "git+"))
	if err != nil {
		return Ref{}, err
	}
	if ref.Kind != KindGit {
		return ref, nil
	}
	ref.URL = withoutCredentials(ref.URL)
	u, err := url.Parse(ref.URL)
	if err != nil {
		return Ref{}, fmt.Errorf("parse clone URL: %w", withoutURL(err))
	}
	owner, repo := path.Split(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"))
	owner = strings.TrimSuffix(owner, "/")
	if !forgeOwner.MatchString(owner) || !forgeRepo.MatchString(repo) || ref.Submodules {
		return ref, nil
	}
	switch u.Hostname() {
	case "github.com", "www.github.com", "ssh.github.com":
		if !strings.Contains(owner, "/") {
			ref.Kind, ref.URL, ref.Owner, ref.Repo = KindGitHub, "", owner, repo
		}
	case "gitlab.com":
		ref.Kind, ref.URL, ref.Owner, ref.Repo = KindGitLab, "", owner, repo
	}
	return ref, nil
}

var (
	scpLike    = regexp.MustCompile(`^([A-Za-z0-9._-]+@[A-Za-z0-9.-]+):([^/].*|/[^/].*)$`)
	localURL   = regexp.MustCompile(`^(git\+)?file:|^/`)
	tarballURL = regexp.MustCompile(`\.(zip|tar|tgz|tar\.gz|tar\.xz|tar\.bz2|tar\.zst)$`)
	fullRev    = regexp.MustCompile(`^[0-9a-f]{40}$`)
	forgeRepo  = regexp.MustCompile(`^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)
	forgeOwner = regexp.MustCompile(`^~?[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)
	// badRef is what git refuses in the name of a reference: https://git-scm.com/docs/git-check-ref-format.
	badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|\.lock(/|$)|(^|/)\.|^@$`)
)
