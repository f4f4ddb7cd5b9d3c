package capsule

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/internal/derivations"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// drvText is a derivation, as Nix writes one.
const drvText = `Derive([("out","/nix/store/00000000000000000000000000000009-p","","")],[],[],"x86_64-linux","/bin/sh",[],[("name","p")])`

var drv = nix.TextPath("p.drv", sha256.Sum256([]byte(drvText)), nil)

func word(out []byte, texts ...string) []byte {
	for _, text := range texts {
		out = binary.LittleEndian.AppendUint64(out, uint64(len(text)))
		out = append(out, text...)
		out = append(out, make([]byte, -len(text)&7)...)
	}
	return out
}

// exportOf is a stream of nix-store --export with one file.
func exportOf(path nix.StorePath, text string) []byte {
	out := binary.LittleEndian.AppendUint64(nil, 1)
	out = word(out, "nix-archive-1", "(", "type", "regular", "contents", text, ")")
	out = binary.LittleEndian.AppendUint64(out, 0x4558494e)
	out = word(out, string(path))
	out = binary.LittleEndian.AppendUint64(out, 0) // references
	out = word(out, "")
	return append(out, make([]byte, 16)...) // no signature, the end
}

// sample is a capsule of one failure, with its files.
func sample(t testing.TB, export []byte, log string) (*Capsule, Contents) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "export")
	if err := derivations.Write(file, func(w io.Writer) error { _, err := w.Write(export); return err }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), []byte(log), 0o644); err != nil {
		t.Fatal(err)
	}
	failure := pipelines.Failure{Kind: pipelines.BuilderFailed, Message: "it failed", Phase: "checkPhase", ExitCode: 1}
	return &Capsule{
			Version: Version, Tool: "test 1", Run: "run", Command: "build", Finished: "2026-01-01T00:00:00Z",
			Source: flake.Snapshot{URL: "github:o/r/abc"}, Settings: nix.Settings{"cores": "0"},
			Cells: []Cell{{
				System: matrix.X8664Linux, Export: "x86_64-linux/derivations.export",
				Packages: []pipelines.PackageResult{{Package: "p", Verdict: pipelines.Failed, Derivation: drv}},
				Failures: []Failure{{Derivation: drv, Failure: failure, Log: "logs/p.log"}},
			}},
		}, Contents{
			Exports: map[string]string{"x86_64-linux/derivations.export": file},
			Logs:    map[string]string{"logs/p.log": filepath.Join(dir, "log")},
		}
}

func TestWriteAndUnpack(t *testing.T) {
	long := strings.Repeat("a line of a log\n", 2*maxLog/16)
	c, contents := sample(t, exportOf(drv, drvText), long+"the end\n")
	file := filepath.Join(t.TempDir(), "capsules/run.tar.zst")
	if err := Write(t.Context(), file, c, contents); err != nil {
		t.Fatal(err)
	}
	u, err := Unpack(t.Context(), file, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if f := u.Cells[0].Failures[0]; f.Kind != pipelines.BuilderFailed || f.ExitCode != 1 || u.Settings["cores"] != "0" {
		t.Errorf("%+v", u.Capsule)
	}
	log := u.Logs["logs/p.log"]
	if !strings.HasPrefix(log, "a line of a log\n") || !strings.HasSuffix(log, "the end\n") || len(log) > maxLog {
		t.Errorf("%d bytes of a log: %.40q", len(log), log)
	}
	data, err := os.ReadFile(filepath.Join(u.Dir, u.Cells[0].Export))
	if err != nil || !bytes.Equal(data, exportOf(drv, drvText)) {
		t.Errorf("export of %d bytes, %v", len(data), err)
	}
	// The same contents make the same file.
	again := filepath.Join(t.TempDir(), "again")
	if err := Write(t.Context(), again, c, contents); err != nil {
		t.Fatal(err)
	}
	if one, two := read(t, file), read(t, again); !bytes.Equal(one, two) {
		t.Error("two files differ")
	}
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// rawOf is all that is in a capsule, unpacked: what a search for a secret would see.
func rawOf(t *testing.T, file string) []byte {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A secret that got near, in whatever text, is not in the file; where it would be in an export, there is no file.
func TestNoSecret(t *testing.T) {
	const secret = `s3cr3t<&>"token`
	c, contents := sample(t, exportOf(drv, drvText), "it says "+secret+"\n")
	c.Cells[0].Failures[0].Message = "failed with " + secret
	c.Settings["substituters"] = "https://" + secret + "@example.org"
	contents.Secrets = []string{secret}
	file := filepath.Join(t.TempDir(), "c")
	if err := Write(t.Context(), file, c, contents); err != nil {
		t.Fatal(err)
	}
	raw := rawOf(t, file)
	escaped, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte(secret)) || bytes.Contains(raw, escaped[1:len(escaped)-1]) || bytes.Count(raw, []byte(hidden)) != 3 {
		t.Errorf("it has the secret, or not all that was put in its place:\n%q", raw)
	}
	for _, at := range []int{0, 1, 7} { // wherever the writes have their borders
		text := strings.Repeat("x", 32<<10-len(secret)/2+at) + secret
		c, contents := sample(t, exportOf(nix.TextPath("p.drv", sha256.Sum256([]byte(text)), nil), text), "")
		contents.Secrets = []string{"another", secret}
		file := filepath.Join(t.TempDir(), "c")
		if err := Write(t.Context(), file, c, contents); !errors.Is(err, errSecret) || strings.Contains(err.Error(), secret) {
			t.Errorf("a secret in an export: %v", err)
		}
		if _, err := os.Stat(file); err == nil {
			t.Error("there is a file")
		}
	}
}

// Whoever has changed a capsule is found out before anything of it is imported.
func TestTampering(t *testing.T) {
	forged := exportOf(drv, strings.Replace(drvText, "/bin/sh", "/bin/ev", 1))
	output := exportOf("/nix/store/00000000000000000000000000000009-glibc", "not glibc")
	for name, test := range map[string]struct {
		export []byte
		change func(*Capsule)
		member func(*tar.Header) *tar.Header
		want   string
	}{
		"derivation":      {export: forged, want: "its contents are not those that its path was made of"},
		"output":          {export: append(exportOf(drv, drvText)[:len(exportOf(drv, drvText))-8], output...), want: "its contents are not those"},
		"another export":  {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].ExportHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }, want: "its hash is sha256-"},
		"version":         {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Version = 2 }, want: "it is of version 2, and this program knows version 1"},
		"no version":      {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Version = 0 }, want: "it is not a capsule"},
		"no systems":      {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells = nil }, want: "it has no system in it"},
		"system":          {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].System = "vax" }, want: "vax"},
		"system to obey":  {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].System = "\x1b[2J" }, want: `"\x1b[2J": `},
		"system twice":    {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells = append(c.Cells, c.Cells[0]) }, want: "x86_64-linux is in it twice"},
		"nothing failed":  {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].Failures = nil }, want: "nothing in it has failed"},
		"no derivation":   {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].Packages[0].Derivation = "/etc/passwd" }, want: "parse nix store path /etc/passwd"},
		"option":          {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].Packages[0].Derivation = "--option" }, want: "parse nix store path --option"},
		"not in it":       {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].Packages[0].Derivation = drv[:11] + "1" + drv[12:] }, want: "is not in it"},
		"way out":         {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].Export = "../../etc/cron.d/x" }, want: "is no name of a member"},
		"hidden name":     {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Cells[0].Failures[0].Log = "/etc/shadow" }, want: "is no name of a member"},
		"member is gone":  {export: exportOf(drv, drvText), member: func(h *tar.Header) *tar.Header { h.Name = strings.Replace(h.Name, "derivations", "other", 1); return h }, want: "x86_64-linux/derivations.export is not in it"},
		"cut off inside":  {export: exportOf(drv, drvText)[:100], want: "it was cut off"},
		"not JSON":        {export: exportOf(drv, drvText), member: func(h *tar.Header) *tar.Header { return h }, change: func(c *Capsule) { c.Tool = "\x00" }, want: ""},
		"first is other":  {export: exportOf(drv, drvText), member: func(h *tar.Header) *tar.Header { h.Name = "x" + h.Name; return h }, want: "it does not begin with capsule.json"},
		"huge descriptio": {export: exportOf(drv, drvText), change: func(c *Capsule) { c.Tool = strings.Repeat("x", maxDescription) }, want: "it does not begin with capsule.json"},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := sample(t, test.export, "log")
			sum := sha256.Sum256(test.export)
			c.Cells[0].ExportHash = "sha256:" + nixHex(sum[:])
			if test.change != nil {
				test.change(c)
			}
			dir := t.TempDir()
			_, err := Unpack(t.Context(), pack(t, c, test.export, test.member), dir)
			if test.want == "" {
				return // whatever it says, it does not panic
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func nixHex(sum []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, b := range sum {
		out.WriteByte(digits[b>>4])
		out.WriteByte(digits[b&15])
	}
	return out.String()
}

// pack writes a capsule as somebody may who wants to be believed.
func pack(t *testing.T, c *Capsule, export []byte, change func(*tar.Header) *tar.Header) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "c")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewWriter(f)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, m := range []struct {
		name string
		data []byte
	}{{description, text}, {"x86_64-linux/derivations.export", export}} {
		h := &tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644}
		if change != nil {
			h = change(h)
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// Wherever a file was cut off, that is said, and nothing panics.
func TestTruncated(t *testing.T) {
	c, contents := sample(t, exportOf(drv, drvText), "log")
	file := filepath.Join(t.TempDir(), "c")
	if err := Write(t.Context(), file, c, contents); err != nil {
		t.Fatal(err)
	}
	whole := read(t, file)
	for n := 0; n < len(whole); n += 7 {
		cut := filepath.Join(t.TempDir(), "cut")
		if err := os.WriteFile(cut, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Unpack(t.Context(), cut, t.TempDir()); err == nil {
			t.Fatalf("%d of %d bytes pass for a capsule", n, len(whole))
		}
	}
}

func FuzzUnpack(f *testing.F) {
	c, contents := sample(f, exportOf(drv, drvText), "log")
	file := filepath.Join(f.TempDir(), "c")
	if err := Write(f.Context(), file, c, contents); err != nil {
		f.Fatal(err)
	}
	f.Add(read(f, file))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "c")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Unpack(t.Context(), file, t.TempDir()); err == nil {
			t.Log("a capsule")
		}
	})
}

// FuzzDescription changes what is behind the compression and the archive, where FuzzUnpack seldom gets: the description,
// the export, and the name of a member.
func FuzzDescription(f *testing.F) {
	c, _ := sample(f, exportOf(drv, drvText), "log")
	sum := sha256.Sum256(exportOf(drv, drvText))
	c.Cells[0].ExportHash = "sha256:" + nixHex(sum[:])
	text, err := json.Marshal(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, exportOf(drv, drvText), "logs/p.log")
	f.Add([]byte(`{"version": 1, "cells": [{"system": "x86_64-linux", "export": "../x"}]}`), []byte(nil), "../x")
	f.Fuzz(func(t *testing.T, text, export []byte, name string) {
		var file bytes.Buffer
		w := tar.NewWriter(&file)
		for _, m := range []struct {
			name string
			data []byte
		}{{description, text}, {"x86_64-linux/derivations.export", export}, {name, text}} {
			if err := add(w, m.name, time.Time{}, m.data); err != nil {
				return // no archive has a member of that name
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		parent := t.TempDir()
		u := &Unpacked{Dir: filepath.Join(parent, "unpacked"), Logs: map[string]string{}}
		if err := u.read(t.Context(), tar.NewReader(&file)); err == nil && len(u.Cells) == 0 {
			t.Error("a capsule of nothing")
		}
		entries, err := os.ReadDir(parent)
		if err != nil || len(entries) > 1 || len(entries) == 1 && entries[0].Name() != "unpacked" {
			t.Errorf("it leaves its directory: %v, %v", entries, err)
		}
	})
}
