// Serve starts a local Cachix server, to try a push without an account. "serve --help" prints its manual.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
)

const manual = `Serve starts a server of the Cachix API and of one binary cache, to try a push without an account:

  go run ./cachix/cachixtest/serve [flags]

It prints how to push to it and how to substitute from it, in lines to paste, and then a line on standard error for
each request; one that breaks a rule of the protocol is followed by a line that says which. It verifies what is
pushed. The cache is empty at the start and gone at the end, which is Ctrl-C.

Anyone who can reach the address can push with the printed token. The token is not secret: do not use a real one.
Signatures are by a key that anybody can make: trust it for one command, and not in nix.conf.

A plain binary cache that takes PUT is at /put/: nix copy --to http://ADDRESS/put/ STORE-PATH

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	stdout, stderr := report.NewOutput(os.Stdout), report.NewOutput(os.Stderr)
	if err := run(ctx, os.Args[1:], stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "serve: %v\n", err)
		if errors.Is(err, errUsage) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// errUsage is the error for an invalid command line.
var errUsage = errors.New("see serve --help")

// execute serves until the context is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	options, address, err := parse(args, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	var listening net.ListenConfig
	listener, err := listening.Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen at %s: %v", address, err)
	}
	if options.Dir == "" {
		options.Dir, err = os.MkdirTemp("", "serve-")
		if err != nil {
			return errors.Join(fmt.Errorf("make directory for parts: %v", err), listener.Close())
		}
		defer os.RemoveAll(options.Dir)
	}
	log := &requestLog{out: stderr}
	options.Log = log.request
	server, err := cachixtest.NewHandler(options)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer server.Close()
	log.problems = server.Problems

	if err := explain(stdout, options, "http://"+listener.Addr().String(), server.PublicKeys()[0]); err != nil {
		return errors.Join(fmt.Errorf("print how to use it: %v", err), listener.Close())
	}
	return serve(ctx, server, listener)
}

// patience is the time that open requests have to finish at the end.
const patience = 2 * time.Second

func serve(ctx context.Context, server *cachixtest.Server, listener net.Listener) error {
	s := &http.Server{Handler: server.Handler(), ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(server.Slow(listener)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %v", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if s.Shutdown(grace) != nil {
		_ = s.Close()
	}
	<-ended // http.ErrServerClosed
	return nil
}
