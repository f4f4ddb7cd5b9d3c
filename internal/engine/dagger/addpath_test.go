package dagger

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPackIsTheSameForTheSame(t *testing.T) {
	plant := func(at time.Time) []byte {
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
	if !bytes.Equal(plant(at), plant(at)) {
		t.Error("two equal trees are packed differently")
	}
	if bytes.Equal(plant(at), plant(at.Add(time.Second))) {
		t.Error("a time of modification makes no difference")
	}
}

func TestPackRefusesOtherKinds(t *testing.T) {
	if err := pack(new(bytes.Buffer), "/dev"); err == nil {
		t.Error("devices are packed")
	}
	if err := pack(new(bytes.Buffer), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("a directory that is not there is packed")
	}
}
