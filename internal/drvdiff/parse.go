package drvdiff

import (
	"errors"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// maxText is the size limit of a derivation. Real ones are far smaller: all of it goes into the environment of a builder.
const maxText = 16 << 20

// parse parses the text of a .drv file. It accepts only what Nix writes: sorted, without duplicates, with the escapes of
// Nix. So two texts that give the same derivation are equal.
func parse(text []byte) (*derivation, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("parse derivation: %d bytes; the limit is %d", len(text), maxText)
	}
	p := &parser{text: string(text)}
	d := p.derivation()
	if p.err == nil && p.at < len(p.text) {
		p.fail("more text after the end")
	}
	if p.err != nil {
		return nil, fmt.Errorf("parse derivation: %v", p.err)
	}
	return d, nil
}

// A parser reads the text once. After its first error it stops, and its results are invalid.
type parser struct {
	text string
	at   int
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("at byte %d: "+format, append([]any{p.at}, args...)...)
		p.at = len(p.text)
	}
}

func (p *parser) derivation() *derivation {
	if strings.HasPrefix(p.text, "DrvWithVersion(") {
		p.err = errors.New(`its format is that of the experimental feature "dynamic-derivations" (DrvWithVersion), which is not supported`)
		return nil
	}
	d := &derivation{}
	p.expect("Derive(")
	d.Outputs = list(p, p.output)
	p.expect(",")
	d.Inputs = list(p, p.input)
	p.expect(",")
	d.Sources = list(p, p.path)
	p.expect(",")
	d.System = p.string()
	p.expect(",")
	d.Builder = p.string()
	p.expect(",")
	d.Args = list(p, p.string)
	p.expect(",")
	env := list(p, p.variable)
	p.expect(")")

	ascending(p, "outputs", d.Outputs, func(o output) string { return o.Name })
	ascending(p, "input derivations", d.Inputs, func(in input) string { return string(in.Path) })
	ascending(p, "input sources", d.Sources, func(s nix.StorePath) string { return string(s) })
	ascending(p, "variables", env, func(v [2]string) string { return v[0] })
	d.Env = make(map[string]string, len(env))
	for _, v := range env {
		d.Env[v[0]] = v[1]
	}
	return d
}

func (p *parser) output() (o output) {
	p.expect("(")
	o.Name = p.string()
	p.expect(",")
	if path := p.string(); path != "" {
		o.Path = p.storePath(path)
	}
	p.expect(",")
	o.Algorithm = p.string()
	p.expect(",")
	o.Hash = p.string()
	p.expect(")")
	return o
}

func (p *parser) input() (in input) {
	p.expect("(")
	in.Path = p.path()
	if p.err == nil && !in.Path.IsDerivation() {
		p.fail("%s is an input derivation, but its name does not end in .drv", in.Path)
	}
	p.expect(",")
	in.Outputs = list(p, p.string)
	p.expect(")")
	ascending(p, "outputs of an input", in.Outputs, func(name string) string { return name })
	return in
}

func (p *parser) variable() (v [2]string) {
	p.expect("(")
	v[0] = p.string()
	p.expect(",")
	v[1] = p.string()
	p.expect(")")
	return v
}

func (p *parser) path() nix.StorePath { return p.storePath(p.string()) }

func (p *parser) storePath(s string) nix.StorePath {
	if p.err != nil {
		return ""
	}
	path, err := nix.ParseStorePath(s)
	switch {
	case err != nil:
		p.fail("%v", err)
	case string(path) != s:
		p.fail("%q is not a store path", s)
	}
	return path
}

func (p *parser) expect(want string) {
	if !strings.HasPrefix(p.text[p.at:], want) {
		p.fail("%q must be here", want)
		return
	}
	p.at += len(want)
}

// unescape decodes the escape at the beginning of a text: a backslash and one byte.
func unescape(text string) (c byte, ok bool) {
	if len(text) < 2 {
		return 0, false
	}
	switch c = text[1]; c {
	case '"', '\\':
		return c, true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

func (p *parser) string() string {
	p.expect(`"`)
	var unescaped []byte
	for p.err == nil {
		n := strings.IndexAny(p.text[p.at:], "\"\\\n\r\t\x00")
		if n < 0 {
			p.fail("a string does not end")
			break
		}
		plain := p.text[p.at : p.at+n]
		p.at += n
		switch p.text[p.at] {
		case '"':
			p.at++
			if unescaped == nil {
				return plain
			}
			return string(append(unescaped, plain...))
		case '\\':
			c, ok := unescape(p.text[p.at:])
			if !ok {
				p.fail("an escape that Nix does not write")
				break
			}
			unescaped = append(append(unescaped, plain...), c)
			p.at += 2
		default:
			p.fail("byte %#02x in a string without an escape", p.text[p.at])
		}
	}
	return ""
}

func list[T any](p *parser, item func() T) []T {
	p.expect("[")
	if strings.HasPrefix(p.text[p.at:], "]") {
		p.at++
		return nil
	}
	var all []T
	for p.err == nil {
		all = append(all, item())
		if !strings.HasPrefix(p.text[p.at:], ",") {
			p.expect("]")
			break
		}
		p.at++
	}
	return all
}

// ascending refuses lists that are not sorted, or have duplicates.
func ascending[T any](p *parser, what string, all []T, key func(T) string) {
	for i := 1; i < len(all); i++ {
		if key(all[i-1]) >= key(all[i]) {
			p.fail("%s out of order, or twice", what)
			return
		}
	}
}
