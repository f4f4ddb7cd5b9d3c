package binarycache

import "bytes"

// The NAR grammar, from the Nix manual's page "Nix Archive (NAR) format":
//
//	nar       = "nix-archive-1" node
//	node      = "(" "type" ( regular | symlink | directory ) ")"
//	regular   = "regular" [ "executable" "" ] "contents" bytes
//	symlink   = "symlink" "target" bytes
//	directory = "directory" { "entry" "(" "name" bytes "node" node ")" }
//
// Names are in ascending order of their bytes. An archive does not say how long it is:
// only the grammar tells where it ends, which is why a stream of archives has to be parsed.
//
// zombiezen.com/go/nix/nar, which parses archives elsewhere, refuses names that are not UTF-8
// (Nix has them) and takes padding that is not zero (Nix does not).

const narMagic = "nix-archive-1"

// nar reads one archive, to its last byte and no further.
func (w *wireReader) nar() error {
	if err := w.expect(narMagic); err != nil {
		return err
	}
	return w.node(0)
}

func (w *wireReader) node(depth int) error {
	if depth > maxDepth {
		return w.invalid("directories nested deeper than %d", maxDepth)
	}
	if err := w.expect("(", "type"); err != nil {
		return err
	}
	kind, err := w.string(maxToken)
	if err != nil {
		return err
	}
	switch string(kind) {
	case "regular":
		err = w.regular()
	case "symlink":
		err = w.symlink()
	case "directory":
		return w.directory(depth) // its loop has read the closing parenthesis
	default:
		err = w.invalid("%q is no type of file", kind)
	}
	if err != nil {
		return err
	}
	return w.expect(")")
}

func (w *wireReader) regular() error {
	word, err := w.string(maxToken)
	if err != nil {
		return err
	}
	if string(word) == "executable" {
		if err := w.expect("", "contents"); err != nil {
			return err
		}
	} else if string(word) != "contents" {
		return w.invalid("%q where %q is due", word, "contents")
	}
	return w.blob()
}

func (w *wireReader) symlink() error {
	if err := w.expect("target"); err != nil {
		return err
	}
	_, err := w.string(maxTarget)
	return err
}

func (w *wireReader) directory(depth int) error {
	var last []byte
	for {
		word, err := w.string(maxToken)
		if err != nil {
			return err
		}
		if string(word) == ")" {
			return nil
		}
		if string(word) != "entry" {
			return w.invalid("%q where %q is due", word, "entry")
		}
		if err := w.expect("(", "name"); err != nil {
			return err
		}
		name, err := w.string(maxName)
		if err != nil {
			return err
		}
		if !validName(name) {
			return w.invalid("%q cannot name a file", name)
		}
		if bytes.Compare(last, name) >= 0 {
			return w.invalid("the name %q after %q is out of order", name, last)
		}
		last = append(last[:0], name...)
		if err := w.expect("node"); err != nil {
			return err
		}
		if err := w.node(depth + 1); err != nil {
			return err
		}
		if err := w.expect(")"); err != nil {
			return err
		}
	}
}

func validName(name []byte) bool {
	switch string(name) {
	case "", ".", "..":
		return false
	}
	return !bytes.ContainsAny(name, "/\x00")
}
