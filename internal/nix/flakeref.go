package nix

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// FlakeKind says how the tree of a flake is found.
type FlakeKind string

// The kinds of flake references. A local one has no scheme, and what it is shows only when one looks:
// a checkout of git, a bare repository, or a directory like any other.
const (
	LocalFlake     FlakeKind = "local"
	PathFlake      FlakeKind = "path"
	GitFlake       FlakeKind = "git"
	GitHubFlake    FlakeKind = "github"
	GitLabFlake    FlakeKind = "gitlab"
	SourceHutFlake FlakeKind = "sourcehut"
	TarballFlake   FlakeKind = "tarball"
)

// FlakeRef is a flake reference, taken apart:
// https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#flake-references.
// It is comparable. What its fields hold may be secret; what String returns is not.
type FlakeRef struct {
	Kind FlakeKind
	// Path is the directory of a local or path reference, clean but possibly relative.
	Path string
	// URL is what is fetched for git ("https://…", "ssh://…", "file:///…") and tarball,
	// without the parameters that are Nix's own. It may hold credentials.
	URL string
	// Host, Owner and Repo are of github, gitlab and sourcehut. Owner has slashes where it is a subgroup of GitLab's.
	Host, Owner, Repo string
	// Ref is a branch or tag, Rev the 40 hexadecimal digits of a commit.
	Ref, Rev string
	// Dir is the flake's directory within the tree, clean and with slashes; empty for its root.
	Dir string
	// Submodules says that the tree is to include the trees of its submodules.
	Submodules bool
	// NARHash is the SRI hash that the tree must have; empty where any will do.
	NARHash string
	// LastModified is the time to give to the tree, in seconds since 1970; 0 where it is to be found out.
	LastModified int64
}

// IsLocal says whether the reference names something on this machine.
func (r FlakeRef) IsLocal() bool {
	return r.Kind == LocalFlake || r.Kind == PathFlake || strings.HasPrefix(r.URL, "file:")
}

// String returns the reference as Nix writes it, without credentials, so that it is fit for a log and a lock file.
func (r FlakeRef) String() string {
	params := url.Values{}
	set := func(name, value string) {
		if value != "" {
			params.Set(name, value)
		}
	}
	set("dir", r.Dir)
	set("narHash", r.NARHash)
	if r.LastModified != 0 {
		set("lastModified", strconv.FormatInt(r.LastModified, 10))
	}
	if r.Submodules {
		set("submodules", "1")
	}
	switch r.Kind {
	case GitHubFlake, GitLabFlake, SourceHutFlake:
		set("host", r.Host)
		parts := []string{url.PathEscape(r.Owner), url.PathEscape(r.Repo)}
		if at := r.Ref + r.Rev; at != "" {
			parts = append(parts, (&url.URL{Path: at}).EscapedPath())
		}
		return withQuery(string(r.Kind)+":"+strings.Join(parts, "/"), params)
	}
	set("ref", r.Ref)
	set("rev", r.Rev)
	switch r.Kind {
	case LocalFlake:
		return withQuery(r.Path, params)
	case PathFlake:
		return withQuery("path:"+(&url.URL{Path: r.Path}).EscapedPath(), params)
	default:
		return withQuery(string(r.Kind)+"+"+withoutCredentials(r.URL), params)
	}
}

// CloneURL returns what git clones to get the tree; empty where the reference names no repository.
func (r FlakeRef) CloneURL() string {
	switch r.Kind {
	case GitFlake:
		return r.URL
	case GitHubFlake, GitLabFlake, SourceHutFlake:
		host, suffix := r.Host, ".git"
		if host == "" {
			host = defaultHost[r.Kind]
		}
		if r.Kind == SourceHutFlake {
			suffix = ""
		}
		return "https://" + host + "/" + r.Owner + "/" + r.Repo + suffix
	default:
		return ""
	}
}

var defaultHost = map[FlakeKind]string{
	GitHubFlake:    "github.com",
	GitLabFlake:    "gitlab.com",
	SourceHutFlake: "git.sr.ht",
}

// RemoteRef returns the reference by which a consumer would name a repository whose clone URL is known,
// such as the URL of the remote "origin": that of its forge where the forge is a public one that Nix knows.
// It never has credentials, so that the user name of an HTTPS URL is dropped as well.
func RemoteRef(cloneURL string) (FlakeRef, error) {
	ref, err := ParseFlakeRef(strings.TrimPrefix(cloneURL, "git+"))
	if err != nil {
		return FlakeRef{}, err
	}
	if ref.Kind != GitFlake {
		return ref, nil
	}
	ref.URL = withoutCredentials(ref.URL)
	u, err := url.Parse(ref.URL)
	if err != nil {
		return FlakeRef{}, fmt.Errorf("parse clone URL: %w", withoutURL(err))
	}
	owner, repo, ok := cutLast(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	if !ok || !forgeOwner.MatchString(owner) || !forgeRepo.MatchString(repo) || ref.Submodules {
		return ref, nil
	}
	switch u.Hostname() {
	case "github.com", "www.github.com", "ssh.github.com":
		if !strings.Contains(owner, "/") {
			ref.Kind, ref.URL, ref.Owner, ref.Repo = GitHubFlake, "", owner, repo
		}
	case "gitlab.com":
		ref.Kind, ref.URL, ref.Owner, ref.Repo = GitLabFlake, "", owner, repo
	}
	return ref, nil
}

var (
	scpLike    = regexp.MustCompile(`^([A-Za-z0-9._-]+@[A-Za-z0-9.-]+):([^/].*|/[^/].*)$`)
	tarballURL = regexp.MustCompile(`\.(zip|tar|tgz|tar\.gz|tar\.xz|tar\.bz2|tar\.zst)$`)
	fullRev    = regexp.MustCompile(`^[0-9a-f]{40}$`)
	forgeRepo  = regexp.MustCompile(`^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)
	forgeOwner = regexp.MustCompile(`^~?[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)
	// badRef is what git refuses in the name of a reference: https://git-scm.com/docs/git-check-ref-format.
	badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|\.lock(/|$)|(^|/)\.|^@$`)
)

// ParseFlakeRef parses a flake reference as a person types it. Beyond Nix's own forms it takes
// the URL of a repository as it stands in a browser or in git ("https://host/owner/repo", "git@host:owner/repo.git").
//
// It refuses a fragment ("#package"), as packages are named apart, and what would go through the registry
// ("nixpkgs"), as two machines may have different ones. It looks at no file: a local path need not exist.
func ParseFlakeRef(s string) (FlakeRef, error) {
	ref, err := parseFlakeRef(s)
	if err != nil {
		return FlakeRef{}, fmt.Errorf("parse flake reference %q: %w", Redact(s), err)
	}
	return ref, nil
}

func parseFlakeRef(s string) (FlakeRef, error) {
	if before, pkg, ok := strings.Cut(s, "#"); ok {
		return FlakeRef{}, hint.Wrap(errors.New("has a fragment"),
			"name the flake %s and the package with --package %s", Redact(before), hint.Quote(pkg))
	}
	if m := scpLike.FindStringSubmatch(s); m != nil {
		s = "ssh://" + m[1] + "/" + strings.TrimPrefix(m[2], "/")
	}
	rest, query, _ := strings.Cut(s, "?")
	if rest == "" {
		return FlakeRef{}, errors.New("is empty")
	}
	params, err := parseQuery(query)
	if err != nil {
		return FlakeRef{}, err
	}
	if strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".") {
		ref := FlakeRef{Kind: LocalFlake, Path: localPath(rest)}
		return ref, ref.take(params, "dir", "ref", "rev", "submodules")
	}
	scheme, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return FlakeRef{}, unlocked(s)
	}
	switch scheme {
	case "path":
		return parsePath(rest, params)
	case "github", "gitlab", "sourcehut":
		return parseForge(FlakeKind(scheme), rest, params)
	case "flake":
		return FlakeRef{}, unlocked(rest)
	}
	return parseURL(scheme, rest, params)
}

// unlocked is the error for a reference that only a registry could resolve.
func unlocked(name string) error {
	return hint.Wrap(errors.New("needs a registry, which is not locked"),
		"give a URL, such as github:owner/repo, or a directory, such as ./%s", name)
}

func parsePath(rest string, params map[string]string) (FlakeRef, error) {
	if host, ok := strings.CutPrefix(rest, "//"); ok && !strings.HasPrefix(host, "/") {
		return FlakeRef{}, errors.New("names a host")
	}
	dir, err := url.PathUnescape(rest)
	if err != nil {
		return FlakeRef{}, err
	}
	if dir == "" || strings.ContainsRune(dir, 0) {
		return FlakeRef{}, errors.New("has no path")
	}
	ref := FlakeRef{Kind: PathFlake, Path: localPath(dir)}
	return ref, ref.take(params, "dir", "rev", "narHash", "lastModified", "revCount")
}

// localPath makes a path clean while it still looks like one: foo becomes ./foo, since foo alone would be a name.
func localPath(p string) string {
	p = filepath.Clean(p)
	if filepath.IsAbs(p) || strings.HasPrefix(p, ".") {
		return p
	}
	return "./" + p
}

func parseForge(kind FlakeKind, rest string, params map[string]string) (FlakeRef, error) {
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 {
		return FlakeRef{}, fmt.Errorf("is not %s:owner/repo", kind)
	}
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return FlakeRef{}, err
		}
	}
	ref := FlakeRef{Kind: kind, Owner: parts[0], Repo: parts[1]}
	if !forgeOwner.MatchString(ref.Owner) || !forgeRepo.MatchString(ref.Repo) ||
		strings.Contains(ref.Owner, "/") && kind != GitLabFlake {
		return FlakeRef{}, fmt.Errorf("is not %s:owner/repo", kind)
	}
	if len(parts) == 3 {
		name := "ref"
		if fullRev.MatchString(parts[2]) {
			name = "rev"
		}
		if _, twice := params[name]; twice {
			return FlakeRef{}, fmt.Errorf("has two values of %q", name)
		}
		params[name] = parts[2]
	}
	if err := ref.take(params, "ref", "rev", "dir", "host", "narHash", "lastModified"); err != nil {
		return FlakeRef{}, err
	}
	if ref.Ref != "" && ref.Rev != "" {
		return FlakeRef{}, errors.New("has both a branch or tag and a commit")
	}
	return ref, nil
}

// parseURL parses what has the form of a URL: a tarball by its ending or prefix, else a repository of git.
func parseURL(scheme, rest string, params map[string]string) (FlakeRef, error) {
	kind, transport, ok := strings.Cut(scheme, "+")
	if !ok {
		kind, transport = string(GitFlake), scheme
		if tarballURL.MatchString(rest) && scheme != "ssh" && scheme != "git" {
			kind = string(TarballFlake)
		}
	}
	ref := FlakeRef{Kind: FlakeKind(kind)}
	var known []string
	switch kind + "+" + transport {
	case "git+https", "git+http", "git+ssh", "git+git", "git+file":
		for _, name := range []string{"exportIgnore", "keytype", "lfs", "publicKey", "publicKeys", "verifyCommit"} {
			if _, ok := params[name]; ok {
				return FlakeRef{}, fmt.Errorf("has the parameter %q, which is not supported", name)
			}
		}
		known = []string{"ref", "rev", "dir", "submodules", "shallow", "allRefs", "narHash", "lastModified", "revCount"}
	case "tarball+https", "tarball+http", "tarball+file":
		known = []string{"rev", "dir", "narHash", "lastModified", "revCount"}
	default:
		if !strings.HasPrefix(rest, "//") {
			return FlakeRef{}, unlocked(scheme + ":" + rest)
		}
		return FlakeRef{}, fmt.Errorf("has the scheme %q, which is not supported", scheme)
	}

	own, foreign := map[string]string{}, url.Values{}
	for name, value := range params {
		foreign.Set(name, value)
	}
	for _, name := range known {
		if value, ok := params[name]; ok {
			own[name] = value
			foreign.Del(name)
		}
	}
	u, err := url.Parse(transport + ":" + rest)
	if err != nil {
		return FlakeRef{}, withoutURL(err)
	}
	if u.Opaque != "" || (u.Host == "") != (transport == "file") || u.Path == "" && transport == "file" {
		return FlakeRef{}, fmt.Errorf("is not %s://host/path", transport)
	}
	ref.URL = withQuery(u.String(), foreign)
	return ref, ref.take(own, known...)
}

// take sets the reference's fields from its parameters. A parameter that is not known is an error:
// it would be lost, and with it what its author wanted.
func (r *FlakeRef) take(params map[string]string, known ...string) error {
	for name, value := range params {
		if !slices.Contains(known, name) {
			return fmt.Errorf("has the unknown parameter %q", name)
		}
		if err := r.set(name, value); err != nil {
			return fmt.Errorf("parameter %s=%s: %w", name, value, err)
		}
	}
	return nil
}

// set sets one parameter. What says how to fetch rather than what (shallow, allRefs, revCount) is let go.
func (r *FlakeRef) set(name, value string) error {
	switch name {
	case "dir":
		if value != "" && !filepath.IsLocal(value) {
			return errors.New("leads out of the tree")
		}
		if r.Dir = path.Clean(value); r.Dir == "." {
			r.Dir = ""
		}
	case "ref":
		if badRef.MatchString(value) || fullRev.MatchString(value) {
			return errors.New("not the name of a branch or tag")
		}
		r.Ref = value
	case "rev":
		if !fullRev.MatchString(value) {
			return errors.New("not the 40 hexadecimal digits of a commit")
		}
		r.Rev = value
	case "host":
		u, err := url.Parse("https://" + value)
		if err != nil || u.Host != value || value == "" {
			return errors.New("not a host")
		}
		r.Host = value
	case "narHash":
		h, err := parseSRI(value)
		if err != nil {
			return err
		}
		r.NARHash = h
	case "lastModified":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return errors.New("not a number of seconds")
		}
		r.LastModified = n
	case "submodules":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return errors.New("neither 0 nor 1")
		}
		r.Submodules = b
	}
	return nil
}
