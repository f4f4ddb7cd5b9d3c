package main

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/cachix/cachixtest"
)

// explain prints commands that use the server, to paste into a shell.
func explain(w io.Writer, o cachixtest.Options, base, key string) error {
	secret := quote(o.Token)
	if o.SelfSigned != "" {
		secret = "…   # the secret half of the key; the token goes into CACHIX_AUTH_TOKEN"
	}
	_, err := fmt.Fprintf(w, `# Cache %s is at %s/ until Ctrl-C.
# Push to it:
export SCOPE_CREEP_CACHIX_PRIVATE_KEY=%s
go run ./ci release example --cachix-url %s/api/v1
# Substitute from it, here or in another store:
nix copy --from %s/ --to 'local?root=/tmp/consumer' --option trusted-public-keys %s STORE-PATH
nix build --option extra-substituters %s/ --option extra-trusted-public-keys %s FLAKE
`, o.Name, base, secret, base, base, quote(key), base, quote(key))
	return err
}

// quote quotes a word for a shell.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// requestLog writes a line for each request, and one for each new problem.
type requestLog struct {
	mu       sync.Mutex
	out      io.Writer
	problems func() []string
	reported int
}

func (l *requestLog) request(r cachixtest.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %v\n", r.Time.Format("15:04:05.000"), r)
	problems := l.problems()
	for _, problem := range problems[l.reported:] {
		fmt.Fprintf(l.out, "             problem: %s\n", problem)
	}
	l.reported = len(problems)
}
