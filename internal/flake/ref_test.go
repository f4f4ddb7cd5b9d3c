package flake

import (
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

const (
	testRev = "0123456789abcdef0123456789abcdef01234567"
	testSRI = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
)

func TestParseRef(t *testing.T) {
	tests := []struct {
		in    string
		want  Ref
		str   string // "" where it is in itself
		clone string
	}{
		{in: ".", want: Ref{Kind: KindLocal, Path: "."}},
		{in: "./my flake/ü", want: Ref{Kind: KindLocal, Path: "./my flake/ü"}, str: "./my flake/ü"},
		{in: "../x/../y", want: Ref{Kind: KindLocal, Path: "../y"}, str: "../y"},
		{in: "/abs//dir/", want: Ref{Kind: KindLocal, Path: "/abs/dir"}, str: "/abs/dir"},
		{
			in:   "/repo?dir=./nix/&ref=v1&submodules=1",
			want: Ref{Kind: KindLocal, Path: "/repo", Dir: "nix", Ref: "v1", Submodules: true},
			str:  "/repo?dir=nix&ref=v1&submodules=1",
		},
		{in: "path:/a%23b c", want: Ref{Kind: KindPath, Path: "/a#b c"}, str: "path:/a%23b%20c"},
		{in: "path:///a", want: Ref{Kind: KindPath, Path: "/a"}, str: "path:/a"},
		{in: "path:sub/flake", want: Ref{Kind: KindPath, Path: "./sub/flake"}, str: "path:./sub/flake"},
		{
			in:   "path:/a?lastModified=12&rev=" + testRev + "&narHash=" + testSRI,
			want: Ref{Kind: KindPath, Path: "/a", LastModified: 12, Rev: testRev, NARHash: testSRI},
			str:  "path:/a?lastModified=12&narHash=sha256-47DEQpj8HBSa%2B/TImW%2B5JCeuQeRkm5NMpJWZG3hSuFU%3D&rev=" + testRev,
		},
		{in: "github:o/r", want: Ref{Kind: KindGitHub, Owner: "o", Repo: "r"}, clone: "https://github.com/o/r.git"},
		{in: "github:o/r/v1.2", want: Ref{Kind: KindGitHub, Owner: "o", Repo: "r", Ref: "v1.2"}, clone: "https://github.com/o/r.git"},
		{in: "github:o/r/feature/x", want: Ref{Kind: KindGitHub, Owner: "o", Repo: "r", Ref: "feature/x"}, clone: "https://github.com/o/r.git"},
		{in: "github:o/r/" + testRev, want: Ref{Kind: KindGitHub, Owner: "o", Repo: "r", Rev: testRev}, clone: "https://github.com/o/r.git"},
		{
			in:    "github:o/r?host=ghe.example.org&dir=a/b&ref=dev",
			want:  Ref{Kind: KindGitHub, Owner: "o", Repo: "r", Ref: "dev", Dir: "a/b", Host: "ghe.example.org"},
			str:   "github:o/r/dev?dir=a/b&host=ghe.example.org",
			clone: "https://ghe.example.org/o/r.git",
		},
		{in: "gitlab:group%2Fsub/r", want: Ref{Kind: KindGitLab, Owner: "group/sub", Repo: "r"}, clone: "https://gitlab.com/group/sub/r.git"},
		{in: "sourcehut:~o/r", want: Ref{Kind: KindSourceHut, Owner: "~o", Repo: "r"}, clone: "https://git.sr.ht/~o/r"},
		{
			in:    "git+https://example.org/r.git?ref=main&rev=" + testRev + "&dir=d&submodules=1&shallow=1&x=y",
			want:  Ref{Kind: KindGit, URL: "https://example.org/r.git?x=y", Ref: "main", Rev: testRev, Dir: "d", Submodules: true},
			str:   "git+https://example.org/r.git?x=y&dir=d&ref=main&rev=" + testRev + "&submodules=1",
			clone: "https://example.org/r.git?x=y",
		},
		{
			in: "https://example.org/a.tar.gz?archive&b=", want: Ref{Kind: KindTarball, URL: "https://example.org/a.tar.gz?archive=&b="},
			str: "tarball+https://example.org/a.tar.gz?archive=&b=",
		},
		{in: "git+file:///a%20b", want: Ref{Kind: KindGit, URL: "file:///a%20b"}, clone: "file:///a%20b"},
		{in: "file:///a/bare.git", want: Ref{Kind: KindGit, URL: "file:///a/bare.git"}, str: "git+file:///a/bare.git", clone: "file:///a/bare.git"},
		{in: "git@github.com:o/r.git", want: Ref{Kind: KindGit, URL: "ssh://git@github.com/o/r.git"}, str: "git+ssh://git@github.com/o/r.git", clone: "ssh://git@github.com/o/r.git"},
		{in: "https://github.com/o/r", want: Ref{Kind: KindGit, URL: "https://github.com/o/r"}, str: "git+https://github.com/o/r", clone: "https://github.com/o/r"},
		{
			in:   "https://example.org/x.tar.gz?dir=sub&v=1",
			want: Ref{Kind: KindTarball, URL: "https://example.org/x.tar.gz?v=1", Dir: "sub"},
			str:  "tarball+https://example.org/x.tar.gz?v=1&dir=sub",
		},
		{in: "tarball+https://example.org/x", want: Ref{Kind: KindTarball, URL: "https://example.org/x"}},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseRef(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got  %#v\nwant %#v", got, tt.want)
			}
			if tt.str == "" {
				tt.str = tt.in
			}
			if got.String() != tt.str {
				t.Errorf("String = %s, want %s", got, tt.str)
			}
			if got.CloneURL() != tt.clone {
				t.Errorf("CloneURL = %s, want %s", got.CloneURL(), tt.clone)
			}
		})
	}
}

func TestParseFlakeRefRefuses(t *testing.T) {
	tests := []struct{ in, want, hint string }{
		{"", "is empty", ""},
		{".#open-sesame", "has a fragment", "--package open-sesame"},
		{"nixpkgs", "needs a registry", "github:owner/repo"},
		{"flake:nixpkgs", "needs a registry", "github:owner/repo"},
		{"nixpkgs/nixos-unstable", "needs a registry", "./nixpkgs/nixos-unstable"},
		{"hg+https://example.org/x", `the scheme "hg+https"`, ""},
		{"github:o", "is not github:owner/repo", ""},
		{"github:../r", "is not github:owner/repo", ""},
		{"github:a%2Fb/r", "is not github:owner/repo", ""},
		{"github:o/r/main?ref=x", "two values", ""},
		{"github:o/r/main?rev=" + testRev, "both a branch or tag and a commit", ""},
		{"github:o/r/--upload-pack=x", "not the name of a branch or tag", ""},
		{"github:o/r?rev=abc", "not the 40 hexadecimal digits", ""},
		{"github:o/r?submodules=1", `unknown parameter "submodules"`, ""},
		{"github:o/r?host=evil/x", "not a host", ""},
		{"./x?dir=../y", "leads out of the tree", ""},
		{"./x?dir=/y", "leads out of the tree", ""},
		{"git+https://example.org/x?lfs=1", "not supported", ""},
		{"git+https:///x", "is not https://host/path", ""},
		{"git+file://host/x", "is not file://host/path", ""},
		{"path:/x?narHash=sha512-xx", "not an SRI hash", ""},
		{"path:/x?lastModified=-1", "not a number of seconds", ""},
		{"path:/x?ref=main", `unknown parameter "ref"`, ""},
		{"https://u:s3cret@exa mple.org/x", "invalid character", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := ParseRef(tt.in)
			if err == nil {
				t.Fatalf("got %#v, want an error", got)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %q, want %q", err, tt.want)
			}
			if tt.hint != "" && !strings.Contains(strings.Join(hint.Of(err), "\n"), tt.hint) {
				t.Errorf("hints %q, want %q", hint.Of(err), tt.hint)
			}
		})
	}
}

func TestRemoteRef(t *testing.T) {
	tests := []struct{ in, want string }{
		{"https://github.com/o/r.git", "github:o/r"},
		{"https://x-access-token:s3cret@github.com/o/r", "github:o/r"},
		{"git@github.com:o/r.git", "github:o/r"},
		{"ssh://git@ssh.github.com:443/o/r.git", "github:o/r"},
		{"git@gitlab.com:group/sub/r.git", "gitlab:group%2Fsub/r"},
		{"https://s3cret@example.org/o/r.git", "git+https://example.org/o/r.git"},
		{"ssh://git:s3cret@example.org/o/r.git", "git+ssh://git@example.org/o/r.git"},
		{"https://example.org/r?private_token=s3cret&a=b", "git+https://example.org/r?a=b"},
		{"https://github.com/o/r?submodules=1", "git+https://github.com/o/r?submodules=1"},
		{"https://github.com/o", "git+https://github.com/o"},
	}
	for _, tt := range tests {
		got, err := RemoteRef(tt.in)
		if err != nil || got.String() != tt.want {
			t.Errorf("RemoteRef(%q) = %v, %v; want %s", tt.in, got, err, tt.want)
		}
	}
}

// FuzzParseRef checks that ParseRef is the inverse of String, except for secrets, and that no reference leads out of the
// tree or is an option of git.
func FuzzParseRef(f *testing.F) {
	for _, s := range []string{
		".", "./a b?dir=c", "path:a%23?narHash=" + testSRI, "github:o/r/" + testRev, "gitlab:a%2Fb/c/v1?host=h",
		"git+https://u:p@h/x?ref=a&token=b&y=%26", "git@h:o/r.git", "https://h/x.tar.gz?a=+", "file:///x y", "nixpkgs#x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseRef(s)
		if err != nil {
			return
		}
		again, err := ParseRef(ref.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", s, ref, err)
		}
		if again.String() != ref.String() {
			t.Errorf("%q became %q, then %q", s, ref, again)
		}
		if strings.HasPrefix(ref.Ref, "-") || slices.Contains(strings.Split(ref.Dir, "/"), "..") {
			t.Errorf("%q has ref %q and dir %q", s, ref.Ref, ref.Dir)
		}
		again.URL = ref.URL // may have lost its credentials
		if again != ref {
			t.Errorf("%q: %#v became %#v", s, ref, again)
		}
	})
}
