package executortest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// wire reads Nix's serialisation: numbers of 64 bits, little endian, and texts with their length before and zeros
// behind, up to a multiple of eight.
type wire struct{ *bufio.Reader }

func (w wire) number() (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(w, b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

func (w wire) text() (string, error) {
	n, err := w.number()
	if err != nil || n > 1<<30 {
		return "", fmt.Errorf("length %d: %w", n, io.ErrUnexpectedEOF)
	}
	b := make([]byte, (n+7)/8*8)
	_, err = io.ReadFull(w, b)
	return string(b[:n]), err
}

// node reads a file, a link or a directory of a NAR, whose texts come in pairs but for the parentheses.
func (w wire) node() error {
	if word, err := w.text(); err != nil || word != "(" {
		return fmt.Errorf("%q instead of a node: %v", word, err)
	}
	for {
		word, err := w.text()
		switch {
		case err != nil:
			return err
		case word == ")":
			return nil
		case word == "entry":
			err = w.entry()
		case word == "executable", word == "type", word == "contents", word == "target":
			_, err = w.text()
		default:
			err = fmt.Errorf("%q in a node", word)
		}
		if err != nil {
			return err
		}
	}
}

// entry reads "( name … node … )".
func (w wire) entry() error {
	for _, want := range []string{"(", "name", "", "node"} {
		if word, err := w.text(); err != nil || want != "" && word != want {
			return fmt.Errorf("%q instead of %q: %v", word, want, err)
		}
	}
	if err := w.node(); err != nil {
		return err
	}
	_, err := w.text()
	return err
}
