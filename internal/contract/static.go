package contract

import (
	"errors"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
)

// Static checks the files of a flake's tree. It needs no Nix and takes milliseconds.
func (c *Contract) Static(tree string, now time.Time) []Result {
	var all findings
	if c.Hashes != nil {
		all.check("hashes", c.Hashes.check(tree)...)
	}
	if c.NixConfig != nil {
		all.check("nix-config", c.NixConfig.check(tree)...)
	}
	if c.Lock != nil {
		all.check("lock", c.Lock.check(tree, now)...)
	}
	return c.Finish(all, "", nil)
}

// failure returns the failure of a check that ended with an error in a file of the tree.
func failure(file string, err error) []Result {
	r := Result{Reason: err.Error(), File: file}
	if syntax, ok := errors.AsType[*tomlfile.SyntaxError](err); ok {
		r.Line = syntax.Line
	}
	if syntax, ok := errors.AsType[*flake.SyntaxError](err); ok {
		r.Line = syntax.Line
	}
	return []Result{r}
}
