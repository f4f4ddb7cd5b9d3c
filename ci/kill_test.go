package main

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

// killSeed is the seed of the times in TestKilledRelease; OPEN_SESAME_CI_KILL_SEED replaces it.
const killSeed = 20261126

// A release is killed at a random moment and run again, twenty times. The cache always ends with the same paths and
// narinfo files, and no path was ever there before everything that it refers to (the server refuses that). Later runs
// remove the working directories of the killed ones.
func TestKilledRelease(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nix"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs Nix and root: apt-get install nix-bin")
	}
	needsTime(t)
	seed, err := strconv.ParseUint(os.Getenv("OPEN_SESAME_CI_KILL_SEED"), 10, 64)
	if err != nil {
		seed = killSeed
	}
	system, err := setup.NativeSystem()
	if err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	t.Cleanup(func() { makeWritable(dir) })
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		t.Fatal(err)
	}
	ci := buildCI(t)
	release := func(out string, server *cachixtest.Server) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), ci, "release", "example", "--engine", "host", "--out", out, "--rebuild=off", "--contract", "off",
			"--system", string(system), "--cachix-url", server.APIURL())
		cmd.Dir = dir
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8",
			"TMPDIR=" + temp, "NIX_REMOTE=local?root=" + filepath.Join(dir, "store"), defaultSecret + "=" + cachixtest.TestToken,
		}
		return cmd
	}
	complete := func(cmd *exec.Cmd) time.Duration {
		t.Helper()
		started := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, out)
		}
		return time.Since(started)
	}
	newServer := func() *cachixtest.Server {
		// The push takes a large part of the run.
		server := cachixtest.New(cachixtest.Options{Latency: 5 * time.Millisecond})
		t.Cleanup(server.Close)
		return server
	}
	server := newServer()
	complete(release("first", server)) // builds
	took := complete(release("second", newServer()))
	want, requests := served(server), 0 // up to the last path
	for i, r := range server.Requests() {
		if r.Endpoint == "complete" {
			requests = i + 1
		}
	}

	pushed := map[string]int{} // paths at the time of the kill
	left, lost := 0, 0         // open uploads, and those that the next run did not know
	for i := range 20 {
		server, out := newServer(), "out-"+strconv.Itoa(i)
		cmd := release(out, server)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // at a random time, or after some requests
			time.Sleep(time.Duration(chance.Float64() * 1.1 * float64(took)))
		} else {
			untilAsked(server, chance.IntN(requests))
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		switch n := len(server.Paths()); {
		case n == 0:
			pushed["nothing"]++
		case n < len(want):
			pushed["something"]++
		default:
			pushed["all"]++
		}
		left += server.OpenUploads()
		complete(release(out, server))
		lost += server.OpenUploads()
		if got := served(server); !slices.Equal(got, want) {
			t.Errorf("seed %d, round %d: the cache has\n%s\nwant\n%s", seed, i, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if problems := server.Problems(); len(problems) > 0 {
			t.Errorf("seed %d, round %d: rules were broken: %q", seed, i, problems)
		}
		if left, err := os.ReadDir(filepath.Join(dir, out, "journal")); err == nil {
			t.Errorf("seed %d, round %d: a journal is left, though all is published: %v", seed, i, left)
		}
	}
	// A child of the last killed run can have written to its directory after the next run began.
	complete(release("last", newServer()))
	if left, err := filepath.Glob(filepath.Join(temp, "open-sesame-ci-*")); err != nil || len(left) > 0 {
		t.Errorf("seed %d: working directories are left: %v, %v", seed, left, err)
	}
	t.Logf("seed %d: when it was killed, %v of it was there; %d uploads were open, of which %d stay open: their answer had not arrived", seed, pushed, left, lost)
}

// untilAsked waits until a server received n requests.
func untilAsked(s *cachixtest.Server, n int) {
	for len(s.Requests()) < n {
		time.Sleep(time.Millisecond)
	}
}

// served returns the narinfo files of a server, in the order of paths.
func served(s *cachixtest.Server) []string {
	var all []string
	for _, path := range s.Paths() {
		hash, _, _ := strings.Cut(filepath.Base(path), "-")
		text, _ := s.NARInfo(hash)
		all = append(all, text)
	}
	return all
}
