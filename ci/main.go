package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

func main() {
	hideMemory()
	ctx := untilSignal(context.Background())
	environ, secrets := extractSecrets()
	log.SetOutput(report.NewOutput(os.Stderr)) // of net/http, which quotes what a server sends
	os.Exit(execute(ctx, os.Args[1:], process{
		stdout: os.Stdout, stderr: os.Stderr, environ: environ, secrets: secrets,
	}))
}

// untilSignal returns a context that a signal cancels, or the end of the terminal. A second signal ends the process at
// once.
func untilSignal(ctx context.Context) context.Context {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as it is under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	context.AfterFunc(ctx, stop)
	// With this, a write to a closed standard output or standard error fails instead of ending the process, which may have
	// child processes to end and directories to remove. See the documentation of os/signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return ctx
}

// execute is main without os.Exit, for tests. It runs the command line and returns the exit code.
func execute(ctx context.Context, args []string, sys process) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdout := &output{Writer: sys.stdout, name: "standard output", closed: cancel}
	stderr := &output{Writer: sys.stderr, name: "standard error", closed: cancel}
	shownOut, shownErr := report.NewOutput(stdout), report.NewOutput(stderr)
	sys.stdout, sys.stderr = shownOut, shownErr
	root := newRoot(sys)
	root.SetArgs(args)
	root.SetOut(sys.stdout)
	root.SetErr(sys.stderr)
	err := root.ExecuteContext(ctx)
	_, _ = shownOut.Flush(), shownErr.Flush() // both remember what failed
	err = stderr.join(stdout.join(err))
	printError(sys.stderr, err)
	return exitCode(ctx, err)
}
