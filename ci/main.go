package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

func main() {
	hideMemory()
	ctx := untilSignal(context.Background())
	environ, secrets := extractSecrets()
	log.SetOutput(report.NewOutput(os.Stderr)) // of net/http, which quotes what a server sends
	os.Exit(execute(ctx, os.Args[1:], process{
		name: filepath.Base(os.Args[0]), program: programAs(os.Args[0]), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		environ: environ, secrets: secrets,
	}))
}

// untilSignal returns a context that a signal or the end of the terminal cancels. A second signal ends the process.
func untilSignal(ctx context.Context) context.Context {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(ctx, signals...)
	context.AfterFunc(ctx, stop)
	// A write to a closed standard output or standard error then fails, and does not end the process, which may have child
	// processes to end and directories to remove. See the documentation of os/signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return ctx
}

// execute is main without os.Exit, for tests. It runs the command line and returns the exit code.
func execute(ctx context.Context, args []string, process process) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stdout := &output{Writer: process.stdout, name: "standard output", closed: cancel}
	stderr := &output{Writer: process.stderr, name: "standard error", closed: cancel}
	shownOut, shownErr := report.NewOutput(stdout), report.NewOutput(stderr)
	process.stdout, process.stderr = shownOut, shownErr
	root := newRoot(process)
	root.SetArgs(args)
	root.SetOut(process.stdout)
	root.SetErr(process.stderr)
	executed, err := root.ExecuteContextC(ctx)
	_, _ = shownOut.Flush(), shownErr.Flush() // execute reads their errors below
	err = stderr.join(stdout.join(err))
	asJSON, _ := executed.Flags().GetBool("json") // false if the command has no such flag
	printError(process.stderr, process.program, !asJSON, err)
	return exitCode(ctx, err)
}
