package main

import "testing"

// Functions that make, rename and remove files, by package, and methods of [os.Root] that do. Those that open a file to
// write to it are among opens. Code with an [os.Root] can do all of that, so the functions that return one are here too.
var (
	changesFiles = map[string][]string{
		"os": {
			"Chmod", "Chown", "Chtimes", "CreateTemp", "Lchown", "Link", "Mkdir", "MkdirAll", "MkdirTemp", "Remove", "RemoveAll", "Rename",
			"Symlink", "Truncate",
		},
		"io/ioutil": {"TempDir", "TempFile"},
		"syscall": {
			"Chmod", "Chown", "Fchmodat", "Fchownat", "Lchown", "Link", "Linkat", "Mkdir", "Mkdirat", "Mkfifo", "Mknod", "Mknodat", "Rename",
			"Renameat", "Rmdir", "Symlink", "Symlinkat", "Truncate", "Unlink", "Unlinkat",
		},
		"golang.org/x/sys/unix": {
			"Chmod", "Chown", "Fchmodat", "Fchownat", "Lchown", "Link", "Linkat", "Mkdir", "Mkdirat", "Mkfifo", "Mkfifoat", "Mknod", "Mknodat",
			"Rename", "Renameat", "Renameat2", "Rmdir", "Symlink", "Symlinkat", "Truncate", "Unlink", "Unlinkat",
		},
		modulePath + "/internal/regular": {"AnyDir", "AnyFile", "OpenRoot"},
	}
	fileMethods = []string{"Chmod", "Chown", "Chtimes", "Lchown", "Mkdir", "MkdirAll", "Symlink"}
)

// Where files are made, renamed and removed outside of package regular, and where a directory may belong to anyone. None of
// these is below OUT.
var otherFileWriters = map[string]string{
	"cachix/cachixtest/serve/main.go":      "a directory that the program has just made",
	"ci/cmd_compare.go":                    "--html names the file",
	"ci/derivations.go":                    "the results of another run, which are read",
	"ci/settings.go":                       "a snapshot, which is read",
	"ci/source.go":                         "a snapshot, in a working directory",
	"ci/cmd_man.go":                        "the command line names the directory",
	"ci/cmd_report.go":                     "--out names the file",
	"ci/reportlogs.go":                     "logs of other jobs, which are read",
	"ci/cmd_reproduce.go":                  "the results of another run, which are read",
	"ci/cmd_verify.go":                     "the command line names the file, which is read",
	"example/example.go":                   "a tree that the program writes into its own working directory",
	"internal/binarycache/dir.go":          "OpenReadOnly: a cache that the command line names, which is read",
	"internal/compare/subject.go":          "the command line names the file, which is read",
	"internal/engine/dagger/archive.go":    "the user's cache directory; a second process may be reading the file, which is never replaced",
	"internal/engine/dagger/oci.go":        "a file that the program has just made",
	"internal/contract/fix.go":             "--fix changes the user's own flake",
	"internal/drvdiff/tree.go":             "a store, which is read",
	"internal/flake/git.go":                "a directory in a working directory",
	"internal/flake/lfs.go":                "a checkout, which is read",
	"internal/flake/plain.go":              "a checkout, which is read",
	"internal/flake/repository.go":         "a repository that the program has just made",
	"internal/flake/self.go":               "a checkout, which is read",
	"internal/flake/snapshotter.go":        "a directory in a working directory",
	"internal/flake/tarball.go":            "a tree in a working directory",
	"internal/flake/tree.go":               "a tree in a working directory",
	"internal/flake/view.go":               "a repository that the program has just made",
	"internal/flake/worktree.go":           "a checkout, which is read",
	"internal/engine/host/evaluation.go":   "a working directory; the user's own cache of Nix",
	"internal/engine/host/busybuilddir.go": "a working directory",
	"internal/handover/results.go":         "the results of other machines, which are read",
	"internal/record/record.go":            "the user's record, which is opened only if it is this user's alone",
	"ci/pushbatch.go":                      "--from names the directory, which is read",
	"internal/workdir/workdir.go":          "it makes and removes working directories, below no link and of no other user",
	"pipelines/copyflake.go":               "a directory in a working directory",
}

// A checkout can contain a directory OUT with links in it. All files there are written, removed and read by [regular.Dir].
func TestOnlyRegularWritesFiles(t *testing.T) {
	checkUses(t, changesFiles, fileMethods, otherFileWriters)
}
