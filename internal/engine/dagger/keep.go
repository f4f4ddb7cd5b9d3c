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

// rootsDir has the garbage collector roots of all executors on a volume, in one directory each.
//
// Temporary roots of Nix do not work here: their files are named by process numbers, which are the same in containers that
// share a volume. A collector accepts a link to a path that does not exist yet.
const rootsDir = "/nix/var/nix/gcroots/open-sesame-ci/"

// keepScript makes N roots in DIR and runs a command. It removes old roots of executors that were killed:
// DIR N PATH… COMMAND…
const keepScript = `dir=$1 n=$2; shift 2
mkdir -p "$dir" && ln -sfn -t "$dir" -- "${@:1:n}" || exit
for old in "${dir%/*}"/*; do
	(($(stat -c %Y "$old") < $(date +%s) - 7 * 86400)) && rm -r "$old"
done
shift "$n" && exec "$@"`

// dropTimeout is the limit for removing the roots at the end. A later run removes the rest.
const dropTimeout = 10 * time.Second

// roots are the paths that an executor keeps.
type roots struct {
	dir  string // empty before the first call of Keep
	kept map[nix.StorePath]bool
	next []string // for which the next command adds roots
}

// Keep makes the next command add roots for the paths, so that no extra container is started.
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

// keeping returns the beginning of a command line that adds the roots. Commands that start at the same time do not wait for
// it.
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
