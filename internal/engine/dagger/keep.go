package dagger

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// rootsDir has the garbage collector roots of all executors on a volume, each in a directory of its own.
//
// Nix's temporary roots would not do: it names their files by process numbers, which containers that share a volume
// have in common. A link to a path that is not there yet is no error to a collector.
const rootsDir = "/nix/var/nix/gcroots/open-sesame-ci/"

// keepScript makes N roots in DIR before it runs a command, and removes those that a killed executor has left:
// DIR N PATH… COMMAND…
const keepScript = `dir=$1 n=$2; shift 2
mkdir -p "$dir" && ln -sfn -t "$dir" -- "${@:1:n}" || exit
for old in "${dir%/*}"/*; do
	(($(stat -c %Y "$old") < $(date +%s) - 7 * 86400)) && rm -r "$old"
done
shift "$n" && exec "$@"`

// dropTimeout is for removing the roots at the end. What is left then, a later run removes.
const dropTimeout = 10 * time.Second

// roots are the paths that an executor keeps.
type roots struct {
	dir  string // empty as long as there are none
	kept map[nix.StorePath]bool
	next []string // those that the next command makes roots of
}

// Keep has the next command of Nix make roots of the paths before it runs: no container is started for that alone.
func (x *Executor) Keep(ctx context.Context, paths []nix.StorePath) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.roots.dir == "" {
		x.roots.dir = rootsDir + rand.Text()
	}
	if x.roots.kept == nil {
		x.roots.kept = map[nix.StorePath]bool{}
	}
	for _, path := range paths {
		if !x.roots.kept[path] {
			x.roots.kept[path] = true
			x.roots.next = append(x.roots.next, string(path))
		}
	}
	return nil
}

// keeping returns what a command begins with that makes the roots. Commands that are started at the same time do not
// wait for it.
func (x *Executor) keeping() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	paths := x.roots.next
	if len(paths) == 0 {
		return nil
	}
	x.roots.next = nil
	return slices.Concat([]string{"bash", "-c", keepScript, "keep", x.roots.dir, strconv.Itoa(len(paths))}, paths)
}

// dropRoots removes the roots.
func (x *Executor) dropRoots() {
	x.mu.Lock()
	dir, made := x.roots.dir, len(x.roots.next) < len(x.roots.kept)
	x.roots = roots{}
	x.mu.Unlock()
	if !made {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	_, _ = x.Run(ctx, engine.Command{Program: "rm", Args: []string{"-rf", "--", dir}}) // see dropTimeout
}
