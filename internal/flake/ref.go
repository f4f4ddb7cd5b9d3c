package flake

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
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Kind says how the tree of a flake is found.
type Kind string

// The kinds of flake references. A local one has no scheme, and what it is shows only when one looks:
// a checkout of git, a bare repository, or a directory like any other.
const (
	KindLocal     Kind = "local"
	KindPath      Kind = "path"
	KindGit       Kind = "git"
	KindGitHub    Kind = "github"
	KindGitLab    Kind = "gitlab"
	KindSourceHut Kind = "sourcehut"
	KindTarball   Kind = "tarball"
)

// Ref is a flake reference, taken apart:
// https://nix.dev/manual/nix/latest/command-ref/new-cli/nix3-flake#flake-references.
// It is comparable. What its fields hold may be secret; what String returns is not.
type Ref struct {
	Kind Kind
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
func (r Ref) IsLocal() bool {
	return r.Kind == KindLocal || r.Kind == KindPath || strings.HasPrefix(r.URL, "file:")
}

// String returns the reference as Nix writes it, without credentials, so that it is fit for a log and a lock file.
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
		if at := r.Ref + r.Rev; at != "" {
			parts = append(parts, (&url.URL{Path: at}).EscapedPath())
		}
		return withQuery(string(r.Kind)+":"+strings.Join(parts, "/"), params)
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

// CloneURL returns what git clones to get the tree; empty where the reference names no repository.
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

// RemoteRef returns the reference by which a consumer would name a repository whose clone URL is known,
// such as the URL of the remote "origin": that of its forge where the forge is a public one that Nix knows.
// It never has credentials, so that the user name of an HTTPS URL is dropped as well.
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
	owner, repo, ok := cutLast(strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), "/")
	if !ok || !forgeOwner.MatchString(owner) || !forgeRepo.MatchString(repo) || ref.Submodules {
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
	tarballURL = regexp.MustCompile(`\.(zip|tar|tgz|tar\.gz|tar\.xz|tar\.bz2|tar\.zst)$`)
	fullRev    = regexp.MustCompile(`^[0-9a-f]{40}$`)
	forgeRepo  = regexp.MustCompile(`^[A-Za-z0-9_.-]*[A-Za-z0-9_-][A-Za-z0-9_.-]*$`)
	forgeOwner = regexp.MustCompile(`^~?[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$`)
	// badRef is what git refuses in the name of a reference: https://git-scm.com/docs/git-check-ref-format.
	badRef = regexp.MustCompile(`[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|\.lock(/|$)|(^|/)\.|^@$`)
)

// ParseRef parses a flake reference as a person types it. Beyond Nix's own forms it takes
// the URL of a repository as it stands in a browser or in git ("https://host/owner/repo", "git@host:owner/repo.git").
//
// It refuses a fragment ("#package"), as packages are named apart, and what would go through the registry
// ("nixpkgs"), as two machines may have different ones. It looks at no file: a local path need not exist.
func ParseRef(s string) (Ref, error) {
	ref, err := parseRef(s)
	if err != nil {
		return Ref{}, fmt.Errorf("parse flake reference %q: %w", nix.Redact(s), err)
	}
	return ref, nil
}

func parseRef(s string) (Ref, error) {
	if before, pkg, ok := strings.Cut(s, "#"); ok {
		return Ref{}, hint.Wrap(errors.New("has a fragment"),
			"name the flake %s and the package with --package %s", nix.Redact(before), hint.Quote(pkg))
	}
	if m := scpLike.FindStringSubmatch(s); m != nil {
		s = "ssh://" + m[1] + "/" + strings.TrimPrefix(m[2], "/")
	}
	rest, query, _ := strings.Cut(s, "?")
	if rest == "" {
		return Ref{}, errors.New("is empty")
	}
	params, err := parseQuery(query)
	if err != nil {
		return Ref{}, err
	}
	if strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, ".") {
		ref := Ref{Kind: KindLocal, Path: cleanPath(rest)}
		return ref, ref.setParams(params, "dir", "ref", "rev", "submodules")
	}
	scheme, rest, ok := strings.Cut(rest, ":")
	if !ok {
		return Ref{}, needsRegistry(s)
	}
	switch scheme {
	case "path":
		return parsePath(rest, params)
	case "github", "gitlab", "sourcehut":
		return parseForge(Kind(scheme), rest, params)
	case "flake":
		return Ref{}, needsRegistry(rest)
	}
	return parseURL(scheme, rest, params)
}

// needsRegistry is the error for a reference that only a registry could resolve.
func needsRegistry(name string) error {
	return hint.Wrap(errors.New("needs a registry, which is not locked"),
		"give a URL, such as github:owner/repo, or a directory, such as ./%s", name)
}

func parsePath(rest string, params map[string]string) (Ref, error) {
	if host, ok := strings.CutPrefix(rest, "//"); ok && !strings.HasPrefix(host, "/") {
		return Ref{}, errors.New("names a host")
	}
	dir, err := url.PathUnescape(rest)
	if err != nil {
		return Ref{}, err
	}
	if dir == "" || strings.ContainsRune(dir, 0) {
		return Ref{}, errors.New("has no path")
	}
	ref := Ref{Kind: KindPath, Path: cleanPath(dir)}
	return ref, ref.setParams(params, "dir", "rev", "narHash", "lastModified", "revCount")
}

// cleanPath makes a path clean while it still looks like one: foo becomes ./foo, since foo alone would be a name.
func cleanPath(p string) string {
	p = filepath.Clean(p)
	if filepath.IsAbs(p) || strings.HasPrefix(p, ".") {
		return p
	}
	return "./" + p
}

func parseForge(kind Kind, rest string, params map[string]string) (Ref, error) {
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 {
		return Ref{}, fmt.Errorf("is not %s:owner/repo", kind)
	}
	for i := range parts {
		var err error
		if parts[i], err = url.PathUnescape(parts[i]); err != nil {
			return Ref{}, err
		}
	}
	ref := Ref{Kind: kind, Owner: parts[0], Repo: parts[1]}
	if !forgeOwner.MatchString(ref.Owner) || !forgeRepo.MatchString(ref.Repo) ||
		strings.Contains(ref.Owner, "/") && kind != KindGitLab {
		return Ref{}, fmt.Errorf("is not %s:owner/repo", kind)
	}
	if len(parts) == 3 {
		name := "ref"
		if fullRev.MatchString(parts[2]) {
			name = "rev"
		}
		if _, twice := params[name]; twice {
			return Ref{}, fmt.Errorf("has two values of %q", name)
		}
		params[name] = parts[2]
	}
	if err := ref.setParams(params, "ref", "rev", "dir", "host", "narHash", "lastModified"); err != nil {
		return Ref{}, err
	}
	if ref.Ref != "" && ref.Rev != "" {
		return Ref{}, errors.New("has both a branch or tag and a commit")
	}
	return ref, nil
}

// parseURL parses what has the form of a URL: a tarball by its ending or prefix, else a repository of git.
func parseURL(scheme, rest string, params map[string]string) (Ref, error) {
	kind, transport, ok := strings.Cut(scheme, "+")
	if !ok {
		kind, transport = string(KindGit), scheme
		if tarballURL.MatchString(rest) && scheme != "ssh" && scheme != "git" {
			kind = string(KindTarball)
		}
	}
	ref := Ref{Kind: Kind(kind)}
	var known []string
	switch kind + "+" + transport {
	case "git+https", "git+http", "git+ssh", "git+git", "git+file":
		for _, name := range []string{"exportIgnore", "keytype", "lfs", "publicKey", "publicKeys", "verifyCommit"} {
			if _, ok := params[name]; ok {
				return Ref{}, fmt.Errorf("has the parameter %q, which is not supported", name)
			}
		}
		known = []string{"ref", "rev", "dir", "submodules", "shallow", "allRefs", "narHash", "lastModified", "revCount"}
	case "tarball+https", "tarball+http", "tarball+file":
		known = []string{"rev", "dir", "narHash", "lastModified", "revCount"}
	default:
		if !strings.HasPrefix(rest, "//") {
			return Ref{}, needsRegistry(scheme + ":" + rest)
		}
		return Ref{}, fmt.Errorf("has the scheme %q, which is not supported", scheme)
	}

	own, foreign := map[string]string{}, url.Values{}
	for name, value := range params {
		if slices.Contains(known, name) {
			own[name] = value
		} else {
			foreign.Set(name, value)
		}
	}
	u, err := url.Parse(transport + ":" + rest)
	if err != nil {
		return Ref{}, withoutURL(err)
	}
	if u.Opaque != "" || (u.Host == "") != (transport == "file") || u.Path == "" && transport == "file" {
		return Ref{}, fmt.Errorf("is not %s://host/path", transport)
	}
	u.RawQuery = encodeQuery(foreign)
	ref.URL = u.String()
	return ref, ref.setParams(own, known...)
}

// take sets the reference's fields from its parameters. A parameter that is not known is an error:
// it would be lost, and with it what its author wanted.
func (r *Ref) setParams(params map[string]string, known ...string) error {
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
func (r *Ref) set(name, value string) error {
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
