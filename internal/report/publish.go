package report

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// publish is the second verdict of a cell, which is not the build's: what became of it in the cache of consumers.
func (s style) publish(c run.CellResult) []shown {
	if c.Publish == nil {
		return nil
	}
	sign, text := publishVerdict(*c.Publish)
	if seen := consumers(c.Packages); seen != "" {
		text += "; " + seen
	}
	return []shown{"  " + s.sign(sign) + s.clean(text)}
}

func publishVerdict(p run.PublishResult) (mark, string) {
	reason, _, _ := strings.Cut(strings.TrimSpace(p.Reason), "\n")
	switch p.Verdict {
	case run.Published:
		text := fmt.Sprintf("published to %s: %s", p.Cache, count(p.Added, "path"))
		if p.FileBytes > 0 {
			text += ", " + amount(p.FileBytes) + " sent"
		}
		if p.There > 0 {
			text += fmt.Sprintf(", %d there", p.There)
		}
		if p.Upstream > 0 {
			text += fmt.Sprintf(", %d upstream", p.Upstream)
		}
		return passed, text
	case run.NotWanted:
		return skipped, "nothing was pushed: " + reason
	case run.Withheld:
		return skipped, "withheld from the cache: " + reason
	case run.Unpublished:
		return failed, fmt.Sprintf("not published to %s, %s left: %s", p.Cache, count(p.Left, "path"), reason)
	}
	return failed, fmt.Sprintf("pushed to %s, and %s: %s", p.Cache, p.Verdict, reason)
}

// consumers says how many of the packages somebody with the public cache gets, and which not.
// It is empty where the cache was not asked.
func consumers(packages []run.PackageResult) string {
	hits := 0
	var misses []string
	for _, p := range packages {
		switch p.Consumer {
		case run.Visible:
			hits++
		case run.NotVisible:
			misses = append(misses, string(p.Package))
		}
	}
	if hits+len(misses) == 0 {
		return ""
	}
	text := fmt.Sprintf("consumers get %d of %s", hits, count(hits+len(misses), "package"))
	if len(misses) > 0 {
		text += ", not " + strings.Join(misses, ", ")
	}
	return text
}
