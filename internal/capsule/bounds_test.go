package capsule

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// zeros are n bytes, of which a compressed file has almost nothing.
func zeros(n int64) io.Reader { return io.LimitReader(zeroReader{}, n) }

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// member is a member of an archive, whatever is in it.
type member struct {
	name string
	size int64
	data io.Reader
}

func text(name, data string) member { return member{name, int64(len(data)), strings.NewReader(data)} }

// archive writes members into a file.
func archive(t *testing.T, members func(add func(member))) string {
	t.Helper()
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
	members(func(m member) {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Size: m.size, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, m.data); err != nil {
			t.Fatal(err)
		}
	})
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return file
}

// described is the description of a capsule with so many logs.
func described(t *testing.T, logs int) string {
	t.Helper()
	c, _ := sample(t, exportOf(drv, drvText), "")
	c.Cells[0].ExportHash = "sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	f := c.Cells[0].Failures[0]
	c.Cells[0].Failures = nil
	for i := range logs {
		f.Log = logName(i)
		c.Cells[0].Failures = append(c.Cells[0].Failures, f)
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func logName(i int) string { return fmt.Sprintf("logs/%d.log", i) }

// A small file can hold much that is all alike. The sums are bounded: of logs, and of the values in the
// description.
func TestSumsAreBounded(t *testing.T) {
	const values = 1 << 20
	for name, test := range map[string]struct {
		members func(add func(member))
		want    string
	}{
		"logs": {func(add func(member)) {
			add(text(description, described(t, 2000)))
			for i := range 2000 {
				add(member{logName(i), maxLog, zeros(maxLog)})
			}
		}, "its logs are more than 32 MiB"},
		"one log many times": {func(add func(member)) {
			add(text(description, described(t, 1)))
			for range 1000 {
				add(member{logName(0), maxLog, zeros(maxLog)})
			}
		}, "its logs are more than 32 MiB"},
		"failures": {func(add func(member)) {
			add(text(description, `{"version":1,"cells":[{"failures":[`+strings.Repeat("{},", values)+`{}]}]}`))
		}, "more than 262144 values"},
		"packages": {func(add func(member)) {
			add(text(description, `{"version":1,"cells":[{"packages":[`+strings.Repeat("{},", values)+`{}]}]}`))
		}, "more than 262144 values"},
	} {
		t.Run(name, func(t *testing.T) {
			file := archive(t, test.members)
			if info, err := os.Stat(file); err != nil || info.Size() > 1<<20 {
				t.Fatalf("a capsule of %d bytes, %v", info.Size(), err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Unpack(t.Context(), file, t.TempDir())
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
				t.Errorf("%d MiB of memory", used>>20)
			}
		})
	}
}

// What is in no description is passed over, and no longer than a run goes on.
func TestUnpackEndsWithItsContext(t *testing.T) {
	file := archive(t, func(add func(member)) {
		add(text(description, described(t, 1)))
		add(member{"other", 64 << 20, zeros(64 << 20)})
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := errors.New("ended by a signal")
	cancel(ended)
	if _, err := Unpack(ctx, file, t.TempDir()); !errors.Is(err, ended) {
		t.Errorf("error %v, want %v", err, ended)
	}
}

// A run with more failed derivations than there is room for keeps less of each log, and leaves what can be read.
func TestManyLogsAreShortened(t *testing.T) {
	c, contents := sample(t, exportOf(drv, drvText), strings.Repeat("a line of a log\n", maxLog/16))
	log := contents.Logs["logs/p.log"]
	contents.Logs = map[string]string{}
	f := c.Cells[0].Failures[0]
	c.Cells[0].Failures = nil
	for i := range 2000 {
		f.Log = logName(i)
		contents.Logs[f.Log] = log
		c.Cells[0].Failures = append(c.Cells[0].Failures, f)
	}
	file := filepath.Join(t.TempDir(), "c")
	if err := Write(t.Context(), file, c, contents); err != nil {
		t.Fatal(err)
	}
	u, err := Unpack(t.Context(), file, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Logs) != 2000 || !strings.HasSuffix(u.Logs[logName(1999)], "a line of a log\n") {
		t.Errorf("%d logs", len(u.Logs))
	}
	if kind := u.Cells[0].Failures[1999].Kind; kind != pipelines.BuilderFailed {
		t.Errorf("kind %q", kind)
	}
}
