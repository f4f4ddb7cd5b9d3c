package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/setup"
)

// A release of two packages of ten seconds each, with a second build: by jobs on two machines, with a store each, and a
// third that publishes; by one machine, which builds twice; and by hand, where nothing is built twice. Each begins with
// empty stores and an empty cache.
func BenchmarkReleaseByJobs(b *testing.B) {
	m := newBench(b)
	native, err := setup.NativeSystem()
	if err != nil {
		b.Fatal(err)
	}
	var jobs, alone, hand times
	for b.Loop() {
		flake := m.committed(m.fixture("slow", map[string]string{"salt": salt()}))
		where := m.path("round-" + salt())
		if err := os.Mkdir(where, 0o755); err != nil {
			b.Fatal(err)
		}
		server := m.newCachix(cachixtest.Options{})
		run := func(store string, args ...string) *exec.Cmd {
			cmd := m.command([]string{store, defaultSecret + "=" + cachixtest.TestToken}, m.ci, args...)
			cmd.Dir = where
			return cmd
		}
		build := func(name, command string, args ...string) *exec.Cmd {
			args = append([]string{
				command, flake, "--engine", "host", "--contract", "off", "--substituter", none, "--served-by", none,
				"--system", string(native), "--package", "open-sesame", "--package", "open-sesame-desktop", "--out", name,
			}, args...)
			return run("NIX_REMOTE=local?root="+where+"/store-"+name, args...)
		}
		to := []string{"--since", none, "--cachix", defaultProject.Cachix, "--cachix-url", server.APIURL(), "--secret-env", defaultSecret, "--confirm-timeout", "0s"}

		started := time.Now()
		other := build("rebuild", "build", "--rebuild=off")
		if err := other.Start(); err != nil {
			b.Fatal(err)
		}
		m.run(build("build", "build", "--rebuild=off"))
		if err := other.Wait(); err != nil {
			b.Fatal(err)
		}
		m.run(run("", append([]string{"publish", "build", "--against", "rebuild", "--out", "published", "--substituter", none}, to...)...))
		jobs = append(jobs, time.Since(started))

		server = m.newCachix(cachixtest.Options{})
		to[5] = server.APIURL()
		alone = append(alone, m.run(build("alone", "release", to...)))

		const byHand = `all="$1#packages.$2.open-sesame $1#packages.$2.open-sesame-desktop"
nix build --no-link $all
nix copy --to "file://$3?compression=zstd" $all`
		hand = append(hand, m.run(m.shell("NIX_REMOTE=local?root="+where+"/store-hand", byHand, flake, string(native), where+"/cache")))
	}
	m.reportTime("by-jobs-ms", jobs)
	m.reportTime("one-machine-ms", alone)
	m.reportTime("by-hand-ms", hand)
	m.reportRatio("x-one-machine", jobs, alone)
	m.ReportMetric(jobs.median().Seconds()/hand.median().Seconds(), "x-by-hand")
}

// committed makes the builds of the slow fixture last ten seconds, and returns a reference to a commit with it.
func (m *bench) committed(dir string) string {
	m.Helper()
	text, err := os.ReadFile(dir + "/slow.nix")
	if err == nil {
		err = os.WriteFile(dir+"/slow.nix", []byte(strings.Replace(string(text), "sleep 1", "sleep 8", 1)), 0o644)
	}
	if err != nil {
		m.Fatal(err)
	}
	git := m.command([]string{"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"}, "sh", "-euc",
		`cd "$1"; git init --quiet; git add --all; git commit --quiet --message=one --allow-empty; git rev-parse HEAD`, "sh", dir)
	commit, err := git.Output()
	if err != nil {
		m.Fatal(err)
	}
	return "git+file://" + dir + "?rev=" + strings.TrimSpace(string(commit))
}
