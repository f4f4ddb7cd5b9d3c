package flake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// maxFlakeFile bounds what is read of a flake.nix.
const maxFlakeFile = 4 << 20

// withSelf returns a taker that takes the tree as the flake itself asks for it: since version 2.27, Nix fetches a flake
// in git again, with its submodules, where its flake.nix has "inputs.self.submodules = true". Other fetchers, such as that
// of github, ignore it; see https://github.com/NixOS/nix/issues/14982.
func (t *Snapshotter) withSelf(flake []byte) (*Snapshotter, error) {
	self := selfAttributes(string(flake))
	if self["lfs"] {
		return nil, hint.Wrap(errors.New("the flake asks for files of Git LFS (inputs.self.lfs = true), which this program does not fetch"),
			"where no file of the flake is in Git LFS, leave inputs.self.lfs out of flake.nix")
	}
	if !self["submodules"] || t.Ref.Submodules {
		return t, nil
	}
	with := *t
	with.Ref.Submodules = true
	return &with, nil
}

// workingFlakeFile returns the flake.nix of a working tree. It is empty where there is none, which is an error later on.
func workingFlakeFile(top, subdir string) ([]byte, error) {
	w, err := regular.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	name := filepath.Join(filepath.FromSlash(subdir), "flake.nix")
	info, err := w.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode().IsRegular():
		return nil, nil
	case err != nil:
		return nil, err
	}
	return regular.ReadIn(w, name, maxFlakeFile)
}

// flakeFile returns the flake.nix of a commit. It is empty where there is none.
func (r *repository) flakeFile(ctx context.Context, rev, subdir string) ([]byte, error) {
	name := rev + ":" + path.Join(subdir, "flake.nix")
	size, err := r.neutral.output(ctx, r.dir, r.bare("cat-file", "-s", name)...)
	if _, ok := errors.AsType[*gitError](err); ok {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(size); err != nil || n > maxFlakeFile {
		return nil, errors.Join(err, fmt.Errorf("%s is too large", name))
	}
	text, err := r.neutral.output(ctx, r.dir, r.bare("cat-file", "blob", name)...)
	if _, ok := errors.AsType[*gitError](err); ok {
		return nil, nil // a directory
	}
	return []byte(text), err
}

// selfAttributes returns the attributes of inputs.self in a flake.nix that are true. Nix evaluates nothing there: a flake
// is a set, and what is in its inputs are sets, strings, numbers and booleans. So they can be read without evaluation.
func selfAttributes(flake string) map[string]bool {
	r := &nixReader{rest: flake}
	found := map[string]bool{}
	token := r.next()
	if token == "rec" {
		token = r.next()
	}
	if token == "{" {
		r.set(nil, found)
	}
	return found
}

// nixReader reads as much of the Nix language as it takes to tell the bindings of a set from all else.
type nixReader struct{ rest string }

// set reads the bindings of a set whose own path is given, to its end.
func (r *nixReader) set(prefix []string, found map[string]bool) {
	for {
		token := r.next()
		if token == "" || token == "}" {
			return
		}
		at := prefix
		for ; token != "" && token != "=" && token != ";" && token != "}"; token = r.next() {
			if token != "." {
				at = append(at[:len(at):len(at)], strings.Trim(token, `"`))
			}
		}
		if token == "}" {
			return
		}
		if token != "=" {
			continue // inherit
		}
		r.value(at, found)
	}
}

// value reads the value of a binding, and the semicolon that ends it.
func (r *nixReader) value(at []string, found map[string]bool) {
	if of := strings.Join(at, "\x00"); strings.HasPrefix("inputs\x00self\x00", of+"\x00") {
		before := r.rest
		if r.next() == "{" {
			r.set(at, found)
		} else {
			r.rest = before
		}
	}
	first := r.rest
	if token := r.next(); token == "true" && len(at) == 3 && at[0] == "inputs" && at[1] == "self" {
		if r.next() == ";" {
			found[at[2]] = true
			return
		}
	}
	r.rest = first
	r.skip()
}

// skip passes over an expression and the semicolon that ends it.
func (r *nixReader) skip() {
	depth, lets, scopes := 0, 0, 0
	for token := r.next(); token != ""; token = r.next() {
		switch token {
		case "{", "(", "[", "${":
			depth++
		case "}", ")", "]":
			depth--
		}
		switch {
		case depth > 0:
		case token == "let":
			lets++
		case token == "in":
			lets--
		case lets > 0:
		case token == "with", token == "assert":
			scopes++ // it has a semicolon of its own
		case token == ";" && scopes > 0:
			scopes--
		case token == ";":
			return
		}
	}
}

// next returns the next token: a name, a string with a quotation mark at both ends, or a character. It is empty at the end.
func (r *nixReader) next() string {
	for {
		r.rest = strings.TrimLeft(r.rest, " \t\r\n")
		switch {
		case strings.HasPrefix(r.rest, "#"):
			_, r.rest, _ = strings.Cut(r.rest, "\n")
			continue
		case strings.HasPrefix(r.rest, "/*"):
			_, r.rest, _ = strings.Cut(r.rest[2:], "*/")
			continue
		case r.rest == "":
			return ""
		case r.rest[0] == '"':
			return `"` + r.text(`"`, `\`) + `"`
		case strings.HasPrefix(r.rest, "''"):
			return `"` + r.text("''", "''") + `"`
		case strings.HasPrefix(r.rest, "${"):
			return r.take(2)
		}
		n := 0
		for n < len(r.rest) && (isNameByte(r.rest[n]) || n > 0 && strings.IndexByte("-'", r.rest[n]) >= 0) {
			n++
		}
		return r.take(max(n, 1))
	}
}

// text reads a string to the mark that ends it. What is interpolated is left out.
func (r *nixReader) text(mark, escape string) string {
	var b strings.Builder
	r.take(len(mark))
	for r.rest != "" {
		switch {
		case escape == `\` && r.rest[0] == '\\', strings.HasPrefix(r.rest, "$$"):
			b.WriteString(r.take(2))
		case escape == "''" && (strings.HasPrefix(r.rest, "'''") || strings.HasPrefix(r.rest, "''$")):
			b.WriteString(r.take(3))
		case escape == "''" && strings.HasPrefix(r.rest, `''\`):
			b.WriteString(r.take(4))
		case strings.HasPrefix(r.rest, mark):
			r.take(len(mark))
			return b.String()
		case strings.HasPrefix(r.rest, "${"):
			for depth := 0; ; {
				token := r.next()
				if token == "{" || token == "${" {
					depth++
				} else if token == "}" {
					depth--
				}
				if depth == 0 || token == "" {
					break
				}
			}
		default:
			b.WriteString(r.take(1))
		}
	}
	return b.String()
}

func (r *nixReader) take(n int) string {
	n = min(n, len(r.rest))
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}
