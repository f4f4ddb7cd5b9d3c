package main

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// parse parses the command line. --help writes the manual to standard output.
func parse(args []string, stdout io.Writer) (o cachixtest.Options, address string, err error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&address, "listen", "127.0.0.1:8008", "`address` and port to listen at; port 0 takes a free one")
	flags.StringVar(&o.Dir, "dir", "", "keep what is pushed below this `directory` while serving (default: a temporary one)")
	flags.StringVar(&o.Name, "name", "scopecreep-zip", "`name` of the cache")
	flags.StringVar(&o.Token, "token", cachixtest.TestToken, "auth `token` that clients must send; not a real one")
	flags.StringVar(&o.Permission, "permission", "Write", "what the token allows: `Read`, Write or Admin")
	flags.StringVar(&o.SelfSigned, "self-signed", "", "the cache's owner signs, by the secret half of this public `key` (name:base64)")
	flags.BoolVar(&o.Private, "private", false, "substituting needs the token too, as the password in a netrc file")
	flags.DurationVar(&o.Latency, "latency", 0, "round trip of a slow link, such as 20ms")
	flags.Int64Var(&o.Bandwidth, "bandwidth", 0, "`bytes` a second of a slow link, in each direction")
	flags.BoolVar(&o.Trusting, "trusting", false, "count the bytes of parts, and neither verify nor keep them: for benchmarks")
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		if _, err := io.WriteString(stdout, manual); err != nil {
			return o, "", fmt.Errorf("print manual: %v", err)
		}
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return o, "", flag.ErrHelp
	case err != nil:
		return o, "", fmt.Errorf("%v: %w", err, errUsage)
	case flags.NArg() > 0:
		return o, "", fmt.Errorf("%q given, want no argument: %w", flags.Args(), errUsage)
	}
	return o, address, nil
}
