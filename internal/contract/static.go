package contract

import (
	"errors"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
)

// Static checks the files of a flake's tree. It needs no Nix and takes milliseconds.
func (c *Contract) Static(tree string, now time.Time) []Result {
	var results findings
	if c.Hashes != nil {
		results = append(results, c.Hashes.check(tree)...)
	}
	if c.NixConfig != nil {
		results = append(results, c.NixConfig.check(tree)...)
	}
	if c.Lock != nil {
		results = append(results, c.Lock.check(tree, now)...)
	}
	return c.Finish(results, "", nil)
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
