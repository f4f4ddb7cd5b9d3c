package capsule

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// maxLog is how much of the end of a log is packed.
const maxLog = 64 << 10

// Contents are the files that a capsule is made of, on this machine.
type Contents struct {
	// Exports are files of package derivations, by the name of the member.
	Exports map[string]string
	// Logs are whole logs, by the name of the member.
	Logs map[string]string
	// Secrets must be in nothing that is packed. In texts they are replaced; where an export has one, nothing is written.
	Secrets []string
}

// hidden stands for a secret.
const hidden = "(secret)"

// Write packs a capsule into a file: beside and renamed, so that it is whole or not there. It fills in the hashes of
// the exports.
func Write(ctx context.Context, file string, c *Capsule, contents Contents) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write capsule %s: %w", file, err)
		}
	}()
	for i := range c.Cells {
		cell := &c.Cells[i]
		if cell.ExportHash, err = contents.hash(ctx, cell.Export); err != nil {
			return err
		}
	}
	if err := c.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // a no-op once it is renamed
	defer f.Close()
	z, err := zstd.NewWriter(f, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxWindow))
	if err != nil {
		return err
	}
	if err := errors.Join(contents.pack(ctx, z, c), z.Close(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

func (s *Contents) pack(ctx context.Context, w io.Writer, c *Capsule) error {
	t := tar.NewWriter(w)
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	modified, err := time.Parse(time.RFC3339, c.Finished)
	if err != nil {
		return err
	}
	if err := add(t, description, modified, s.clean(append(text, '\n'))); err != nil {
		return err
	}
	limit := s.logLimit()
	for _, cell := range c.Cells {
		for _, name := range cell.logs() {
			text, err := tailOf(s.Logs[name], limit)
			if err != nil {
				return err
			}
			if err := add(t, name, modified, s.clean(text)); err != nil {
				return err
			}
		}
		if err := s.addExport(ctx, t, cell.Export, modified); err != nil {
			return err
		}
	}
	return t.Close()
}

// logLimit is how much of each log there is room for.
func (s *Contents) logLimit() int64 {
	return int64(min(maxLog, maxLogs/max(1, len(s.Logs))))
}

// clean replaces what must not be there. No secret gets near a capsule; this is for the one that did.
func (s *Contents) clean(text []byte) []byte {
	for _, secret := range s.Secrets {
		text = bytes.ReplaceAll(text, []byte(secret), []byte(hidden))
		// As JSON has it, where some characters are escaped.
		if escaped, err := json.Marshal(secret); err == nil {
			text = bytes.ReplaceAll(text, escaped[1:len(escaped)-1], []byte(hidden))
		}
	}
	return text
}

func add(t *tar.Writer, name string, modified time.Time, data []byte) error {
	err := t.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644, ModTime: modified, Format: tar.FormatPAX})
	if err == nil {
		_, err = t.Write(data)
	}
	return err
}

// hash returns the hash of an export, and looks for secrets in it.
func (s *Contents) hash(ctx context.Context, name string) (string, error) {
	r, err := derivations.Open(s.Exports[name])
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(h, &finder{secrets: s.Secrets}), regular.Until(ctx, r)); err != nil {
		return "", err
	}
	return gonix.NewHash(gonix.SHA256, h.Sum(nil)).SRI(), nil
}

func (s *Contents) addExport(ctx context.Context, t *tar.Writer, name string, modified time.Time) error {
	size, err := s.size(ctx, name)
	if err != nil {
		return err
	}
	r, err := derivations.Open(s.Exports[name])
	if err != nil {
		return err
	}
	defer r.Close()
	err = t.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644, ModTime: modified, Format: tar.FormatPAX})
	if err == nil {
		_, err = io.Copy(t, regular.Until(ctx, r))
	}
	return err
}

// size is that of an export before compression, which a tar archive has in front of it.
func (s *Contents) size(ctx context.Context, name string) (int64, error) {
	r, err := derivations.Open(s.Exports[name])
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, regular.Until(ctx, r))
}

// errSecret says that an export has a secret in it, and not which.
var errSecret = errors.New("a derivation or source has a secret of this process in it")

// finder is a writer that fails where a secret is written to it, across the borders of writes too.
type finder struct {
	secrets []string
	end     []byte // of what was written before
}

func (f *finder) Write(p []byte) (int, error) {
	longest := 0
	for _, secret := range f.secrets {
		longest = max(longest, len(secret))
	}
	if longest == 0 {
		return len(p), nil
	}
	window := append(f.end, p[:min(len(p), longest)]...)
	for _, secret := range f.secrets {
		if bytes.Contains(window, []byte(secret)) || bytes.Contains(p, []byte(secret)) {
			return 0, errSecret
		}
	}
	f.end = append(f.end, p...)
	f.end = append([]byte(nil), f.end[max(0, len(f.end)-longest):]...)
	return len(p), nil
}

// tailOf returns the end of a log, from the beginning of a line.
func tailOf(file string, limit int64) ([]byte, error) {
	f, err := regular.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return regular.Tail(f, limit)
}
