package flake

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// ParseRef parses a flake reference as a user types it. In addition to Nix's own forms, it accepts
// the URL of a repository as it stands in a browser or in git ("https://host/owner/repo", "git@host:owner/repo.git").
//
// It refuses a fragment ("#package"), since packages have their own option, and a name in the registry ("nixpkgs"), which
// two machines may resolve differently. It reads no file: a local path need not exist.
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

// needsRegistry returns the error of a reference that only a registry could resolve.
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

// cleanPath returns a clean path that cannot be confused with a name: foo becomes ./foo.
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

// parseURL parses a URL: that of a tarball, by its ending or prefix, or else of a git repository.
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

// setParams sets the reference's fields from its parameters. An unknown parameter is an error, since it would have no
// effect.
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

// set sets one parameter. It ignores those that do not change the tree: shallow, allRefs, revCount.
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
		h, err := nix.ParseHash(value)
		if err != nil || !strings.HasPrefix(value, "sha256-") {
			return errors.New("not an SRI hash (sha256-…)")
		}
		r.NARHash = h.SRI()
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
