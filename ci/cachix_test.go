package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// serverKey is where a script keeps its Cachix server.
type serverKey struct{}

// cachixServer controls the Cachix server of a script:
//
//	cachix start [read|owner=KEY|name=NAME|upstream=DIR]
//	                                  sets $CACHIX_API, $CACHE (what consumers have), $CACHE_KEY and $TOKEN
//	cachix fault ENDPOINT STATUS [N]  answers the next N requests, or all, with STATUS, which may be "reset"
//	cachix behave                     ends the faults
//	cachix holds N                    wants N visible paths, no broken rule and no open upload
//	cachix pinned NAME…               wants exactly these pins
//	cachix quiet                      wants no request since the start, or since the last "cachix quiet"
//	cachix forget PATH                removes a path, as garbage collection does
func cachixServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: cachix start|fault|behave|holds|pinned|quiet|forget")
	}
	if args[0] == "start" {
		startCachix(ts, args[1:])
		return
	}
	s, ok := ts.Value(serverKey{}).(**cachixtest.Server)
	if !ok || *s == nil {
		ts.Fatalf("cachix %s before cachix start", args[0])
	}
	switch args[0] {
	case "fault":
		fault := cachixtest.Fault{Endpoint: args[1]}
		if args[2] == "reset" {
			fault.Reset = true
		} else {
			fault.Status = atoi(ts, args[2])
		}
		if len(args) > 3 {
			fault.Times = atoi(ts, args[3])
		}
		(*s).Misbehave(fault)
	case "behave":
		(*s).Behave()
	case "holds":
		holds(ts, *s, atoi(ts, args[1]))
	case "pinned":
		pinned(ts, *s, args[1:])
	case "quiet":
		if requests := (*s).Requests(); len(requests) > 0 {
			ts.Fatalf("it was asked: %v", requests)
		}
		(*s).Reset()
	case "forget":
		hash, _, _ := strings.Cut(strings.TrimPrefix(args[1], "/nix/store/"), "-")
		(*s).Forget(hash)
	default:
		ts.Fatalf("cachix %s: no such command", args[0])
	}
}

func startCachix(ts *testscript.TestScript, args []string) {
	var o cachixtest.Options
	for _, arg := range args {
		key, isOwner := strings.CutPrefix(arg, "owner=")
		name, isName := strings.CutPrefix(arg, "name=")
		upstream, isUpstream := strings.CutPrefix(arg, "upstream=")
		switch {
		case isUpstream:
			o.Upstream = func(hash string) bool {
				_, err := os.Stat(filepath.Join(upstream, hash+".narinfo"))
				return err == nil
			}
		case isOwner:
			o.SelfSigned = key
		case isName:
			o.Name = name
		case arg == "read":
			o.Permission = "Read"
		default:
			ts.Fatalf("cachix start %s: no such option", arg)
		}
	}
	s := cachixtest.New(o)
	ts.Defer(s.Close)
	slot, ok := ts.Value(serverKey{}).(**cachixtest.Server)
	if !ok {
		ts.Fatalf("the script has no place for a server")
	}
	*slot = s
	ts.Setenv("CACHIX_API", s.APIURL())
	ts.Setenv("CACHE", s.PublicURL())
	ts.Setenv("CACHE_KEY", s.PublicKeys()[0])
	ts.Setenv("TOKEN", cachixtest.TestToken)
}

func holds(ts *testscript.TestScript, s *cachixtest.Server, want int) {
	if paths := s.Paths(); len(paths) != want {
		ts.Fatalf("%d paths can be seen, want %d:\n%s", len(paths), want, strings.Join(paths, "\n"))
	}
	if problems := s.Problems(); len(problems) > 0 {
		ts.Fatalf("rules were broken:\n%s", strings.Join(problems, "\n"))
	}
	if n := s.OpenUploads(); n > 0 {
		ts.Fatalf("%d uploads are left", n)
	}
}

func pinned(ts *testscript.TestScript, s *cachixtest.Server, want []string) {
	var names []string
	for name := range s.Pins() {
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		ts.Fatalf("pinned are %q, want %q", names, want)
	}
}

func atoi(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

// keyPair writes a signing key as Cachix does into a file, and its public half into $PUBLIC: keypair FILE
func keyPair(ts *testscript.TestScript, _ bool, args []string) {
	secret, public, err := newSigningKey()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(secret), 0o600))
	ts.Setenv("PUBLIC", public)
}
