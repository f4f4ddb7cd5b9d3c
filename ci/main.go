package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal finds no handler and ends the process at once.
	context.AfterFunc(ctx, stop)
	environ, secrets := takeEnvironment()
	os.Exit(run(ctx, os.Args[1:], system{
		stdout: os.Stdout, stderr: os.Stderr, environ: environ, secrets: secrets,
	}))
}

// system is what a run may touch of the process that it is in.
type system struct {
	stdout, stderr io.Writer
	environ        []string // without secrets
	secrets        *vault
	now            func() time.Time // the clock; nil is that of the machine
}

// clock returns the clock that a run goes by.
func (sys system) clock() func() time.Time {
	if sys.now == nil {
		return time.Now
	}
	return sys.now
}

// run is main, in the hands of a test: it carries out the command line and returns the exit code.
func run(ctx context.Context, args []string, sys system) int {
	root := newRoot(sys)
	root.SetArgs(args)
	root.SetOut(sys.stdout)
	root.SetErr(sys.stderr)
	err := root.ExecuteContext(ctx)
	printError(sys.stderr, err)
	return exitCode(ctx, err)
}
