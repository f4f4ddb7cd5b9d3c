package cachix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gonix "zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nar"
	"zombiezen.com/go/nix/nixbase32"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// testPolicy is for servers that fail. The timeouts are long, because the machine may be busy: without an answer, the client
// would not know that an upload has begun.
var testPolicy = retryPolicy{
	firstPause: time.Millisecond, maxPause: 4 * time.Millisecond, attempts: 5, maxRetryAfter: 20 * time.Millisecond,
	stallTimeout: 20 * time.Second, completeTimeout: 20 * time.Second, finalTimeout: 20 * time.Second, abortTimeout: 20 * time.Second, answerTimeout: time.Minute,
}

// newServer starts a server, and a client with its token and short timeouts.
func newServer(t testing.TB, so cachixtest.Options, o Options) (*cachixtest.Server, *Client) {
	t.Helper()
	s := cachixtest.New(so)
	t.Cleanup(s.Close)
	o.URL = s.APIURL()
	if o.policy == (retryPolicy{}) {
		o.policy = testPolicy
	}
	if o.Credential.IsZero() {
		o.Credential = hide(secret{token: cachixtest.TestToken})
	}
	c, err := New("scopecreep-zip", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

// stock has store objects in memory. It implements [Source].
type stock struct {
	infos []nix.PathInfo

	mu   sync.Mutex
	nars map[nix.StorePath][]byte
	read map[nix.StorePath]int // how often it was dumped
}

// add makes an object of one file, and returns its path.
func (s *stock) add(t testing.TB, name string, contents []byte, refs ...nix.StorePath) nix.StorePath {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	if err := w.WriteHeader(&nar.Header{Size: int64(len(contents))}); err != nil {
		t.Fatal(err)
	}
	if len(contents) > 0 { // which the writer minds
		if _, err := w.Write(contents); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return s.addNAR(t, name, b.Bytes(), refs...)
}

// addNAR adds an object by its NAR.
func (s *stock) addNAR(t testing.TB, name string, data []byte, refs ...nix.StorePath) nix.StorePath {
	t.Helper()
	digest := sha256.Sum256([]byte(name))
	path, err := nix.ParseStorePath("/nix/store/" + nixbase32.EncodeToString(digest[:20]) + "-" + name)
	if err != nil {
		t.Fatal(err)
	}
	if s.nars == nil {
		s.nars, s.read = map[nix.StorePath][]byte{}, map[nix.StorePath]int{}
	}
	sum := sha256.Sum256(data)
	s.nars[path] = data
	s.infos = append(s.infos, nix.PathInfo{
		Path: path, NARHash: gonix.NewHash(gonix.SHA256, sum[:]), NARSize: int64(len(data)), References: refs,
	})
	return path
}

func (s *stock) Dump(ctx context.Context, w io.Writer, path nix.StorePath) error {
	s.mu.Lock()
	s.read[path]++
	data := s.nars[path]
	s.mu.Unlock()
	for chunk := range slices.Chunk(data, 64<<10) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := w.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

// random returns bytes that cannot be compressed.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = source.Read(b)
	return b
}

// chain returns objects, each of which refers to the one before, and some to an older one.
func chain(t testing.TB, n int) *stock {
	t.Helper()
	s := new(stock)
	var made []nix.StorePath
	for i := range n {
		var refs []nix.StorePath
		if i > 0 {
			refs = append(refs, made[i-1], made[i/2])
		}
		slices.Sort(refs)
		made = append(made, s.add(t, fmt.Sprintf("object-%d", i), random(uint64(i), 100+i*13), slices.Compact(refs)...))
	}
	return s
}

// push plans and pushes all objects.
func (s *stock) push(ctx context.Context, t testing.TB, c *Client, o PushOptions) (run.Pushed, error) {
	t.Helper()
	plan, err := c.Plan(ctx, s.infos, nil)
	if err != nil {
		return run.Pushed{}, err
	}
	return c.Push(ctx, plan, s, o)
}

// checkAfterPush checks what is true after every push, even if it has failed: the client has broken no rule of the server, has
// released all memory and requests, and has left no open upload; the closure of each visible object is complete.
func checkAfterPush(t testing.TB, s *cachixtest.Server, c *Client) {
	t.Helper()
	for _, problem := range s.Problems() {
		t.Errorf("a rule was broken: %s", problem)
	}
	if n := s.OpenUploads(); n > 0 {
		t.Errorf("%d uploads left open", n)
	}
	if !c.memory.room.TryAcquire(partMemory) {
		t.Error("memory for parts is still held")
	} else {
		c.memory.room.Release(partMemory)
	}
	if n := c.memory.inUse(); n != 0 {
		t.Errorf("%d bytes of buffers are still used", n)
	}
	if n := c.throttle.openRequests(); n != 0 {
		t.Errorf("%d requests are open", n)
	}
	isWhole(t, s)
}

func (t *throttle) openRequests() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open
}

// inUse returns the size of the buffers in use.
func (m *memory) inUse() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// isWhole checks that all references of visible objects are visible.
func isWhole(t testing.TB, s *cachixtest.Server) {
	t.Helper()
	for _, path := range s.Paths() {
		text, ok := s.NARInfo(nix.StorePath(path).Digest())
		if !ok {
			continue
		}
		info := new(gonix.NARInfo)
		text = strings.Replace(text, "Deriver: unknown-deriver\n", "", 1) // which the parser takes for a bad path
		if err := info.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		for _, r := range info.References {
			if _, ok := s.NARInfo(r.Digest()); !ok {
				t.Errorf("%s can be seen, and its reference %s cannot", path, r)
			}
		}
	}
}

// sees checks which of the objects are visible.
func (s *stock) sees(t testing.TB, server *cachixtest.Server, want ...nix.StorePath) {
	t.Helper()
	wanted := make([]string, len(want))
	for i, p := range want {
		wanted[i] = string(p)
	}
	slices.Sort(wanted)
	if got := server.Paths(); !slices.Equal(got, wanted) {
		t.Errorf("to be seen are %d paths, want %d:\n%s", len(got), len(wanted), strings.Join(got, "\n"))
	}
}

func (s *stock) paths() []nix.StorePath { return nix.PathsOf(s.infos) }

func mustPush(t testing.TB, s *stock, c *Client, o PushOptions) run.Pushed {
	t.Helper()
	done, err := s.push(t.Context(), t, c, o)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// isUnavailable returns whether an error means that the server did not answer.
func isUnavailable(err error) bool {
	var gone *UnavailableError
	return errors.As(err, &gone)
}
