package contract

import (
	"fmt"
	"time"
)

// Static checks the files of a flake's tree. It needs no Nix and takes milliseconds.
func (c *Contract) Static(tree string, now time.Time) []Result {
	var results []Result
	if c.Hashes != nil {
		results = append(results, c.Hashes.check(tree)...)
	}
	if c.NixConfig != nil {
		results = append(results, c.NixConfig.check(tree)...)
	}
	if c.Lock != nil {
		results = append(results, c.Lock.check(tree, now)...)
	}
	return c.Finish(results, "", c.plannedStatic())
}

// plannedStatic returns the names of the checks of [Contract.Static].
func (c *Contract) plannedStatic() []string {
	var planned []string
	if c.Hashes != nil {
		planned = append(planned, "hashes")
	}
	if c.NixConfig != nil {
		planned = append(planned, "nix-config")
	}
	if c.Lock != nil {
		planned = append(planned, "lock")
	}
	return planned
}

// Counts returns the numbers of results in words, and whether any has failed.
func Counts(results []Result) (text string, broken bool) {
	n := map[Status]int{}
	for _, r := range results {
		n[r.Status]++
	}
	text = fmt.Sprintf("%d passed", n[Pass])
	for _, s := range []struct {
		Status
		word string
	}{{Fail, "failed"}, {Warn, "warned"}, {Skip, "skipped"}} {
		if n[s.Status] > 0 {
			text += fmt.Sprintf(", %d %s", n[s.Status], s.word)
		}
	}
	return text, n[Fail] > 0
}
