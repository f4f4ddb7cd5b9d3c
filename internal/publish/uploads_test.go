package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

const destination = "https://cachix.example/api/v1/cache/c"

// killedRun leaves the log of a killed run, which has no lock.
func killedRun(t *testing.T, out, run, destination string, open ...string) {
	t.Helper()
	l := NewUploadLog(regular.NewDir(out), run, destination)
	l.Begun("complete")
	l.Ended("complete")
	for _, id := range open {
		l.Begun(id)
	}
	if err := l.file.Close(); err != nil {
		t.Fatal(err)
	}
}

func logsIn(t *testing.T, out string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(out, "journal/*.uploads"))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		files[i] = filepath.Base(f)
	}
	return files
}

// A run aborts the open uploads of killed runs to the same destination. It leaves those of live runs and of other
// destinations.
func TestAbortLeft(t *testing.T) {
	out := t.TempDir()
	killedRun(t, out, "1", destination, "a", "b")
	killedRun(t, out, "2", "https://elsewhere.example/api/v1/cache/c", "c")
	killedRun(t, out, "3", "https://cachix.example/api/v1/cache/another", "d")
	alive := NewUploadLog(regular.NewDir(out), "5", destination)
	alive.Begun("e")
	for name, text := range map[string]string{"4": destination + "\n+i\n-i\n", "empty": "", "begun": destination[:9], "text": "text\n", "short": "text", "cut": destination + "\n+f\n+g", "junk": destination + "\nh\n\n+\x1b[2J\n-\x1b[2J\n"} {
		if err := os.WriteFile(filepath.Join(out, "journal", name+".uploads"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(out, "journal/link.uploads")); err != nil {
		t.Fatal(err)
	}
	var got []string
	n, err := NewUploadLog(regular.NewDir(out), "6", destination).AbortLeft(t.Context(), func(_ context.Context, ids []string) (int, error) {
		got = append(got, ids...)
		return len(ids), nil
	})
	slices.Sort(got)
	if diff := cmp.Diff([]string{"a", "b", "f"}, got); diff != "" || n != 3 || err != nil {
		t.Errorf("%d aborted, error %v (-want +got):\n%s", n, err, diff)
	}
	if diff := cmp.Diff([]string{"2.uploads", "3.uploads", "5.uploads", "link.uploads", "short.uploads", "text.uploads"}, logsIn(t, out)); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
	alive.Ended("e")
	if err := alive.RemoveIfEnded(); err != nil || slices.Contains(logsIn(t, out), "5.uploads") {
		t.Errorf("the log of a run that has ended is left: %v", err)
	}
}

// A checkout can contain any number of logs of any size. They cost no more memory and requests than those of real runs.
func TestForeignUploadLogsAreBounded(t *testing.T) {
	out := t.TempDir()
	if err := os.Mkdir(filepath.Join(out, "journal"), 0o755); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	text.WriteString(destination + "\n")
	for i := range 2 * maxOpenUploads {
		fmt.Fprintf(&text, "+%d\n", i)
	}
	long := destination + "\n+" + strings.Repeat("x", maxUploadLine+1) + "\n"
	for name, text := range map[string]string{"0": long, "1": text.String(), "2": text.String(), "3": text.String()} {
		if err := os.WriteFile(filepath.Join(out, "journal", name+".uploads"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n, err := NewUploadLog(regular.NewDir(out), "4", destination).AbortLeft(t.Context(), func(_ context.Context, ids []string) (int, error) {
		return len(ids), nil
	})
	if n != maxOpenUploads || err != nil {
		t.Errorf("%d are aborted, want %d; error %v", n, maxOpenUploads, err)
	}
	if diff := cmp.Diff([]string{"2.uploads", "3.uploads"}, logsIn(t, out)); diff != "" {
		t.Errorf("logs that later runs read (-want +got):\n%s", diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewUploadLog(regular.NewDir(out), "5", destination).AbortLeft(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that has ended reads logs: %v", err)
	}
}

// The next run tries again to abort what this run could not abort.
func TestFailedAbortIsRetried(t *testing.T) {
	out := t.TempDir()
	killedRun(t, out, "1", destination, "a", "b")
	down := errors.New("no answer")
	for i, answer := range []error{down, nil, nil} {
		asked := 0
		_, err := NewUploadLog(regular.NewDir(out), "2", destination).AbortLeft(t.Context(), func(_ context.Context, ids []string) (int, error) {
			asked += len(ids)
			return 1, answer
		})
		if want := []int{2, 2, 0}[i]; !errors.Is(err, answer) || asked != want {
			t.Errorf("attempt %d: asked for %d, want %d; error %v", i, asked, want, err)
		}
	}
	if _, err := os.Stat(filepath.Join(out, "journal")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory is left: %v", err)
	}
}

// The log exists while an upload is open, in a directory that the run makes.
func TestUploadLog(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	l := NewUploadLog(regular.NewDir(out), "1", destination)
	for range 2 {
		l.Begun("a")
		l.Begun("b")
		l.Ended("a")
		if err := l.RemoveIfEnded(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(out, "journal/1.uploads"))
		if want := destination + "\n+a\n+b\n-a\n"; err != nil || string(text) != want {
			t.Errorf("log %q, want %q; error %v", text, want, err)
		}
		l.Ended("b")
		if err := l.RemoveIfEnded(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(out, "journal")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a directory is left: %v", err)
		}
	}
	var none *UploadLog
	none.Begun("a")
	none.Ended("a")
	if n, err := none.AbortLeft(t.Context(), nil); n != 0 || err != nil || none.RemoveIfEnded() != nil {
		t.Errorf("no log: %d, %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(out, "journal"), nil, 0o644); err != nil { // here no directory can be made
		t.Fatal(err)
	}
	l.Begun("c")
	l.Ended("c")
	if err := l.RemoveIfEnded(); err == nil || !strings.HasPrefix(err.Error(), "keep a log of uploads: ") {
		t.Errorf("error %v", err)
	}
}
