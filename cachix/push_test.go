package cachix

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// All objects are pushed. None becomes visible before its references. Each NAR is read once.
func TestPush(t *testing.T) {
	for name, compression := range map[string]nar.Compression{"zstd": nar.Zstd, "xz": nar.XZ, "default": ""} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, cachixtest.Options{}, Options{})
			objects := chain(t, 60)
			var mu sync.Mutex
			var last run.PushProgress
			done := mustPush(t, objects, c, PushOptions{Compression: compression, Report: func(p run.PushProgress) {
				mu.Lock()
				defer mu.Unlock()
				last = p
			}})
			objects.sees(t, s, objects.paths()...)
			if len(done.Added) != 60 || len(done.Left) != 0 {
				t.Errorf("added %d, left %d", len(done.Added), len(done.Left))
			}
			var nars, files int64
			for i, a := range done.Added {
				nars += a.NARSize
				files += a.FileSize
				// A chain has only one possible order.
				if a.Path != objects.infos[i].Path {
					t.Errorf("%d: %s became visible", i, a.Path)
				}
			}
			if want := (run.PushProgress{Paths: 60, OfPaths: 60, Bytes: nars, OfBytes: nars, Sent: files}); last != want {
				t.Errorf("progress ended at %+v, want %+v", last, want)
			}
			for path, times := range objects.read {
				if times != 1 {
					t.Errorf("%s was read %d times", path, times)
				}
			}
			checkAfterPush(t, s, c)
		})
	}
}

// Existing objects are not sent again, and need one request.
func TestPushAgain(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := chain(t, 20)
	mustPush(t, objects, c, PushOptions{})
	s.Reset()
	done := mustPush(t, objects, c, PushOptions{})
	if len(done.Added) != 0 || len(s.Requests()) != 1 || s.Count("missing") != 1 {
		t.Errorf("added %d by %v", len(done.Added), s.Requests())
	}
	checkAfterPush(t, s, c)
}

// The parts of an object are sent in parallel, and joined in order.
func TestPushParts(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	objects.add(t, "large", random(1, 3*partSize+12345))
	objects.add(t, "empty", nil)
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, objects.paths()...)
	if n := s.Count("part"); n != 5 {
		t.Errorf("%d parts were sent, want 4 and 1", n)
	}
	checkAfterPush(t, s, c)
}

// The file depends only on the NAR, not on the timing.
func TestPushIsDeterministic(t *testing.T) {
	objects := new(stock)
	mixed := append(random(1, 5<<20), bytes.Repeat([]byte("text that can be compressed "), 300_000)...)
	path := objects.add(t, "mixed", mixed)
	var first string
	for range 3 {
		s, c := newServer(t, cachixtest.Options{}, Options{})
		mustPush(t, objects, c, PushOptions{})
		text, _ := s.NARInfo(path.Digest())
		if first == "" {
			first = text
		}
		if text != first || text == "" {
			t.Errorf("narinfo\n%s\nafter\n%s", text, first)
		}
	}
}

// Names that Nix allows and that may be a problem for other programs, in paths and in NARs.
func TestPushOddNames(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	for _, name := range []string{"+", "=", "?x", "_", "a..b", strings.Repeat("n", 211), "Name", "name", "x-1.0+git=abc?d_e.f"} {
		objects.add(t, name, []byte(name))
	}
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, objects.paths()...)
	checkAfterPush(t, s, c)
}

// An object may refer to itself.
func TestPushSelfReference(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	path := objects.add(t, "self", []byte("x"))
	objects.infos[0].References = []nix.StorePath{path}
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, path)
	checkAfterPush(t, s, c)
}

// A NAR that differs from the record of Nix is not pushed, nor are the objects that refer to it. All others are.
func TestPushAltered(t *testing.T) {
	for name, alter := range map[string]struct {
		with func([]byte) []byte
		want string
	}{
		"a byte":  {func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b }, "was altered: its NAR is sha256-"},
		"shorter": {func(b []byte) []byte { return b[:len(b)-8] }, "was altered: its NAR is sha256-"},
		"longer":  {func(b []byte) []byte { return append(bytes.Clone(b), make([]byte, 1<<20)...) }, "was altered: its NAR has more bytes"},
		"nothing": {func([]byte) []byte { return nil }, "was altered: its NAR is sha256-"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c := newServer(t, cachixtest.Options{}, Options{})
			objects := new(stock)
			bad := objects.add(t, "bad", random(2, 10000))
			referrer := objects.add(t, "referrer", []byte("r"), bad)
			good := objects.add(t, "good", []byte("g"))
			objects.nars[bad] = alter.with(objects.nars[bad])
			done, err := objects.push(t.Context(), t, c, PushOptions{})
			if err == nil || !strings.Contains(err.Error(), alter.want) || !strings.Contains(err.Error(), "its reference "+string(bad)+" is not there") {
				t.Errorf("error %v", err)
			}
			if isUnavailable(err) {
				t.Error("the server is blamed")
			}
			objects.sees(t, s, good)
			if len(done.Left) != 2 || len(done.Added) != 1 {
				t.Errorf("left %v of %s", done.Left, referrer)
			}
			checkAfterPush(t, s, c)
		})
	}
}

// failing is a source with an error.
type failing struct{ after int64 }

func (f failing) Dump(_ context.Context, w io.Writer, _ nix.StorePath) error {
	if _, err := w.Write(make([]byte, f.after)); err != nil {
		return err
	}
	return errors.New("the disk is gone")
}

func TestPushFromABrokenSource(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	objects := new(stock)
	objects.add(t, "x", make([]byte, 1<<20))
	plan, err := c.Plan(t.Context(), objects.infos, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Push(t.Context(), plan, failing{1000}, PushOptions{}); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("error %v", err)
	}
	objects.sees(t, s)
	checkAfterPush(t, s, c)
}

// newKey returns a signing key in the format of Cachix, and its public half.
func newKey(t testing.TB, seed byte) (secret, public string) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	half, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		t.Fatal("no ed25519 key")
	}
	return base64.StdEncoding.EncodeToString(key), "scopecreep-zip.cachix.org-1:" + base64.StdEncoding.EncodeToString(half)
}

// A cache whose owner signs accepts only objects that are signed by its key.
func TestPushSigned(t *testing.T) {
	key, public := newKey(t, 1)
	credential, err := ParseCredential(key)
	if err != nil {
		t.Fatal(err)
	}
	s, c := newServer(t, cachixtest.Options{SelfSigned: public, NoToken: true}, Options{Credential: credential})
	objects := chain(t, 10)
	if _, err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
	mustPush(t, objects, c, PushOptions{})
	objects.sees(t, s, objects.paths()...)
	checkAfterPush(t, s, c)

	other, _ := newKey(t, 2)
	credential, err = ParseCredential(other)
	if err != nil {
		t.Fatal(err)
	}
	s, c = newServer(t, cachixtest.Options{SelfSigned: public}, Options{Credential: credential.Join(hide(secret{token: cachixtest.TestToken}))})
	if _, err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "the signing key is none of the cache's") {
		t.Errorf("error %v", err)
	}
	if len(s.Requests()) != 1 {
		t.Errorf("%d requests, want one", len(s.Requests()))
	}
}

// A cancelled push aborts its uploads. The closures of visible objects are complete, and a second push adds the rest.
func TestPushCancelled(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			chance := rand.New(rand.NewPCG(seed, 1))
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			var requests atomic.Int64
			after := 1 + chance.Int64N(165) // of the 167 requests of a push
			s, c := newServer(t, cachixtest.Options{Latency: time.Millisecond, Log: func(cachixtest.Request) {
				if requests.Add(1) == after {
					cancel(why)
				}
			}}, Options{})
			objects := chain(t, 40)
			objects.add(t, "large", random(99, partSize+1000))
			done, err := objects.push(ctx, t, c, PushOptions{})
			if err != nil && !errors.Is(err, why) {
				t.Errorf("error %v", err)
			}
			if got := len(done.Added) + len(done.Left); err == nil && got != 41 {
				t.Errorf("%d objects are accounted for", got)
			}
			checkAfterPush(t, s, c)

			before := len(s.Paths())
			again := mustPush(t, objects, c, PushOptions{})
			if len(again.Added) != 41-before {
				t.Errorf("the second push sent %d objects, where %d of 41 were there", len(again.Added), before)
			}
			objects.sees(t, s, objects.paths()...)
			checkAfterPush(t, s, c)
		})
	}
}

// Two pushes of the same objects at the same time succeed.
func TestPushTwiceAtOnce(t *testing.T) {
	s, c := newServer(t, cachixtest.Options{}, Options{})
	_, other := newServer(t, cachixtest.Options{}, Options{})
	other.base = c.base
	objects := chain(t, 40)
	var both sync.WaitGroup
	for _, client := range []*Client{c, other} {
		both.Go(func() {
			if _, err := objects.push(t.Context(), t, client, PushOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	objects.sees(t, s, objects.paths()...)
	checkAfterPush(t, s, c)
	checkAfterPush(t, s, other)
}
