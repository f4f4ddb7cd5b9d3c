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
	}
	d := &derivation{Env: map[string]string{}}
	p.fields("Derive(",
		func() {
			d.Outputs = sorted(p, "outputs", p.output, func(o output) string { return o.Name })
		},
		func() {
			d.Inputs = sorted(p, "input derivations", p.input, func(in input) string { return string(in.Path) })
		},
		func() {
			d.Sources = sorted(p, "input sources", p.path, func(s nix.StorePath) string { return string(s) })
		},
		p.into(&d.System),
		p.into(&d.Builder),
		func() { d.Args = list(p, p.string) },
		func() {
			for _, v := range sorted(p, "variables", p.variable, func(v [2]string) string { return v[0] }) {
				d.Env[v[0]] = v[1]
			}
		})
	return d
}

func (p *parser) output() (o output) {
	p.fields("(", p.into(&o.Name), func() {
		if path := p.string(); path != "" {
			o.Path = p.storePath(path)
		}
	}, p.into(&o.Algorithm), p.into(&o.Hash))
	return o
}

func (p *parser) input() (in input) {
	p.fields("(", func() { in.Path = p.path() }, func() {
		in.Outputs = sorted(p, "outputs of an input", p.string, func(name string) string { return name })
	})
	if p.err == nil && !in.Path.IsDerivation() {
		p.fail("%s is an input derivation, but its name does not end in .drv", in.Path)
	}
	return in
}

func (p *parser) variable() (v [2]string) {
	p.fields("(", p.into(&v[0]), p.into(&v[1]))
	return v
}

func (p *parser) path() nix.StorePath { return p.storePath(p.string()) }

func (p *parser) storePath(s string) nix.StorePath {
	if p.err != nil {
		return ""
	}
	path, err := nix.ParseStorePath(s)
	if err != nil {
		p.fail("%v", err)
	} else if string(path) != s {
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

// fields reads values with commas between them, after an opening text and before a closing parenthesis.
func (p *parser) fields(open string, read ...func()) {
	for i := range read {
		p.expect(open)
		read[i]()
		open = ","
	}
	p.expect(")")
}

func (p *parser) into(s *string) func() { return func() { *s = p.string() } }

// unescape decodes the escapes that Nix writes.
var unescape = strings.NewReplacer(`\"`, `"`, `\\`, `\`, `\n`, "\n", `\r`, "\r", `\t`, "\t")

func (p *parser) string() string {
	p.expect(`"`)
	start := p.at
	for p.err == nil {
		n := strings.IndexAny(p.text[p.at:], "\"\\\n\r\t\x00")
		if n < 0 {
			p.fail("a string does not end")
			break
		}
		p.at += n
		switch c, next := p.text[p.at], p.text[p.at+1:]; {
		case c == '"':
			p.at++
			return unescape.Replace(p.text[start : p.at-1])
		case c != '\\':
			p.fail("byte %#02x in a string without an escape", c)
		case next == "" || !strings.Contains(`"\nrt`, next[:1]):
			p.fail("an escape that Nix does not write")
		default:
			p.at += 2
		}
	}
	return ""
}

func list[T any](p *parser, item func() T) (all []T) {
	p.expect("[")
	if strings.HasPrefix(p.text[p.at:], "]") {
		p.at++
		return nil
	}
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

// sorted reads a list. It refuses one that is not sorted, or has duplicates.
func sorted[T any](p *parser, what string, item func() T, key func(T) string) []T {
	all := list(p, item)
	for i := 1; i < len(all); i++ {
		if key(all[i-1]) >= key(all[i]) {
			p.fail("%s out of order, or twice", what)
			break
		}
	}
	return all
}
