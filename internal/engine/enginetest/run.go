package enginetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
)

func stdout(ctx context.Context, s subject) error {
	out, err := s.output(ctx, nixCommand("eval", "--expr", "1 + 1"))
	if err != nil {
		return err
	}
	if out != "2\n" {
		return fmt.Errorf("output of nix eval: %q, want %q", out, "2\n")
	}
	// The output is bytes, not text, and does not have the error output.
	out, err = s.output(ctx, sh(`printf '\377\0\r\n no newline'; echo aside >&2`))
	if err == nil && out != "\xff\x00\r\n no newline" {
		err = fmt.Errorf("output is %q", out)
	}
	return err
}

// stdoutIsStreamed checks that a writer gets more output than a pipe holds, and that Run does not return it too.
func stdoutIsStreamed(ctx context.Context, s subject) error {
	const size = 5_000_000
	var got bytes.Buffer
	c := sh(`head -c "$1" /dev/zero; exit 3`, strconv.Itoa(size))
	c.Stdout = &got
	out, err := s.Run(ctx, c)
	var exit *engine.ExitError
	switch {
	case !errors.As(err, &exit) || exit.Code != 3:
		return fmt.Errorf("error %v, want exit code 3", err)
	case got.Len() != size || len(out) > 0:
		return fmt.Errorf("the writer got %d bytes of %d, and Run returned %d", got.Len(), size, len(out))
	}
	return nil
}

// busyBuildDir checks that the build directory is another one, which other users may search, and which has other files.
func busyBuildDir(ctx context.Context, s subject) error {
	script := `echo "${TMPDIR-/tmp}"; stat -c %a "${TMPDIR-/tmp}"; ls "${TMPDIR-/tmp}"`
	plain, err := s.output(ctx, sh(script))
	if err != nil {
		return err
	}
	c := sh(script)
	c.BusyBuildDir = true
	busy, err := s.output(ctx, c)
	if err != nil {
		return err
	}
	before, after := strings.Split(plain, "\n"), strings.Split(busy, "\n")
	switch {
	case before[0] == after[0]:
		return fmt.Errorf("both build directories are in %s", after[0])
	case after[1] != "755":
		return fmt.Errorf("the mode of %s is %s", after[0], after[1])
	case len(after) < 4:
		return fmt.Errorf("nothing is in %s", after[0])
	}
	if _, err := os.Stat(after[0]); err == nil && s.engine.Kind == "host" {
		return fmt.Errorf("%s was left behind", after[0])
	}
	return nil
}

// watcher records the output, and the time at which a text first appeared.
type watcher struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	seen time.Time
	late bool // there was a write after the return of Run
	done bool
}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = w.late || w.done
	w.buf.Write(p)
	if w.seen.IsZero() && strings.Contains(w.buf.String(), w.want) {
		w.seen = time.Now()
	}
	return len(p), nil
}

func stderrIsLive(ctx context.Context, s subject) error {
	w := &watcher{want: "first\n"}
	c := sh("echo first >&2; sleep 2; echo second >&2")
	c.Stderr = w
	if _, err := s.output(ctx, c); err != nil {
		return err
	}
	ended := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.buf.String() != "first\nsecond\n":
		return fmt.Errorf("stderr is %q", w.buf.String())
	case ended.Sub(w.seen) < time.Second:
		return fmt.Errorf("a line arrived %s before the command ended, 2 s after it was written", ended.Sub(w.seen))
	}
	return nil
}

// stderrIsWhole checks that long lines, carriage returns, binary bytes and the last line arrive unchanged and in order.
func stderrIsWhole(ctx context.Context, s subject) error {
	const lines, length = 200, 100_000
	c := sh(`long=$(head -c "$2" /dev/zero | tr '\0' x)
		for ((i = 0; i < $1; i++)); do printf '%d\r\377\0%s\n' "$i" "$long"; done >&2; printf 'the end' >&2`,
		strconv.Itoa(lines), strconv.Itoa(length))
	var got bytes.Buffer
	c.Stderr = &got
	if _, err := s.output(ctx, c); err != nil {
		return err
	}
	var want bytes.Buffer
	long := strings.Repeat("x", length)
	for i := range lines {
		fmt.Fprintf(&want, "%d\r\xff\x00%s\n", i, long)
	}
	want.WriteString("the end")
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		return fmt.Errorf("stderr has %d bytes, or other bytes than the %d that were written", got.Len(), want.Len())
	}
	return nil
}

func stderrDoesNotMix(ctx context.Context, s subject) error {
	const lines = 5000
	names := []string{"a", "b", "c"}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			var got bytes.Buffer
			c := sh(`for ((i = 0; i < $2; i++)); do echo "$1 $i"; done >&2`, name, strconv.Itoa(lines))
			c.Stderr = &got
			if _, errs[i] = s.output(ctx, c); errs[i] != nil {
				return
			}
			var want strings.Builder
			for n := range lines {
				fmt.Fprintf(&want, "%s %d\n", name, n)
			}
			if got.String() != want.String() {
				errs[i] = fmt.Errorf("stderr of command %s is not what it wrote", name)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func exitCodes(ctx context.Context, s subject) error {
	for _, code := range []int{1, 100, 127, 137, 139, 255} {
		if err := exitsWith(ctx, s, code, sh(`echo "a reason" >&2; exit "$1"`, strconv.Itoa(code))); err != nil {
			return err
		}
	}
	return exitsWith(ctx, s, 137, sh(`echo "a reason" >&2; kill -KILL $$`))
}

func exitsWith(ctx context.Context, s subject, code int, c engine.Command) error {
	out, err := s.Run(ctx, c)
	var exit *engine.ExitError
	switch {
	case !errors.As(err, &exit):
		return fmt.Errorf("exit code %d: error is %v, not an ExitError; output %q", code, err, out)
	case exit.Code != code || exit.Program != c.Program:
		return fmt.Errorf("exit code %d of %s is reported as %d of %s", code, c.Program, exit.Code, exit.Program)
	case !strings.Contains(exit.Stderr, "a reason"):
		return fmt.Errorf("exit code %d: the error's stderr is %q", code, exit.Stderr)
	}
	return nil
}

func unknownProgram(ctx context.Context, s subject) error {
	const name = "nix-no-such-program"
	_, err := s.Run(ctx, engine.Command{Program: name})
	var exit *engine.ExitError
	if err == nil || errors.As(err, &exit) || !strings.Contains(err.Error(), name) {
		return fmt.Errorf("error is %v, want one that names the program and is no ExitError", err)
	}
	return nil
}

// endWithin is how soon a command has to end after its context.
const endWithin = 10 * time.Second

func cancel(ctx context.Context, s subject) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return endsWith(ctx, s, context.Canceled, cancel)
}

func deadline(ctx context.Context, s subject) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return endsWith(ctx, s, context.DeadlineExceeded, func() {})
}

// endsWith runs an endless command, and calls end as soon as it runs.
func endsWith(ctx context.Context, s subject, want error, end func()) error {
	mark := rand.Text()
	w := &watcher{want: "running\n"}
	c := sh(`echo running >&2; while :; do echo again >&2; sleep 0.1; done # ` + mark)
	c.Stderr = w
	started := time.Now()
	go func() {
		for range 600 {
			w.mu.Lock()
			seen := !w.seen.IsZero()
			w.mu.Unlock()
			if seen {
				end()
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		end()
	}()
	_, err := s.Run(ctx, c)
	w.mu.Lock()
	w.done = true
	seen := w.seen
	w.mu.Unlock()
	switch {
	case !errors.Is(err, want):
		return fmt.Errorf("error is %v, want %v", err, want)
	case seen.IsZero():
		return errors.New("the command never ran")
	case time.Since(started) > endWithin+2*time.Second:
		return fmt.Errorf("the command took %s to end", time.Since(started))
	}
	time.Sleep(500 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.late {
		return errors.New("stderr was written after Run had returned")
	}
	return noProcess(mark)
}

// noProcess checks that no process has the mark in its command line, in containers of this machine too.
func noProcess(mark string) error {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if data, _ := os.ReadFile(file); bytes.Contains(data, []byte(mark)) {
			return fmt.Errorf("process %s of an ended command still runs", filepath.Base(filepath.Dir(file)))
		}
	}
	return nil
}

func closeLeavesNoChild(ctx context.Context, s subject) error {
	before := children()
	x := s.open(s.engine.Native)
	_, err := x.Run(ctx, sh("true"))
	if err := errors.Join(err, x.Close(), x.Close()); err != nil { // the second one has no effect
		return err
	}
	for pid, name := range children() {
		if _, ok := before[pid]; !ok {
			return fmt.Errorf("child %s (%s) still runs", pid, name)
		}
	}
	return nil
}

// children returns the names of this process's children by their number.
func children() map[string]string {
	found := map[string]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		data, _ := os.ReadFile(file)
		name, rest, _ := strings.Cut(string(data), ") ")
		_, name, _ = strings.Cut(name, " (")
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			found[filepath.Base(filepath.Dir(file))] = name
		}
	}
	return found
}
