package dagger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestEqualTreesArePackedEqually(t *testing.T) {
	packed := func(at time.Time) []byte {
		dir := t.TempDir()
		file := filepath.Join(dir, "file")
		if err := os.WriteFile(file, []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{file, dir} {
			if err := os.Chtimes(path, time.Now(), at); err != nil {
				t.Fatal(err)
			}
		}
		var b bytes.Buffer
		if err := pack(&b, dir); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	at := time.Unix(1700000000, 0)
	if !bytes.Equal(packed(at), packed(at)) {
		t.Error("two equal trees are packed differently")
	}
	if bytes.Equal(packed(at), packed(at.Add(time.Second))) {
		t.Error("another modification time gives the same file")
	}
}

func TestPackRefusesOtherKinds(t *testing.T) {
	if err := pack(new(bytes.Buffer), "/dev"); err == nil {
		t.Error("pack accepts devices")
	}
	if err := pack(new(bytes.Buffer), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("pack accepts a missing directory")
	}
}
