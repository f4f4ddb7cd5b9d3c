package buildlog

import (
	"cmp"
	"maps"
	"regexp"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// failedDownload is Nix's message about a failed download: the URL, and the reason.
var failedDownload = regexp.MustCompile(`^unable to download '([^']*)'(.*)$`)

var httpStatus = regexp.MustCompile(`(?i)(?:returned error:|HTTP error|HTTP status(?: code)?:?|HTTP/[\d.]+) (\d{3})`)

// downloadPhrases find the reason why a fetcher failed, by the words of curl, git and Nix.
var downloadPhrases = phrases{
	{run.NoHost, []string{"resolve host", "name resolution", "Name or service not known"}},
	{run.NoNetwork, []string{"Network is unreachable", "No route to host"}},
	{run.NoConnection, []string{
		"Failed to connect", "connect to server", "Connection refused", "Connection timed out", "Connection reset",
	}},
	{run.NoTLS, []string{"certificate"}},
	{run.TooSlow, []string{"Operation too slow", "Operation timed out", "Timeout was reached"}},
	{run.NoMirror, []string{"from any mirror"}},
}

// downloadFailure changes the kind of a fixed-output derivation's failure to a failed download, if the end of its log has
// a reason for that. Such a builder only fetches, so its log is about the download. A hash mismatch keeps its kind.
func downloadFailure(f *run.Failure, tail []string) {
	if f.Kind != run.BuilderFailed {
		return
	}
	best := len(downloadPhrases)
	for _, line := range tail {
		if m := httpStatus.FindStringSubmatch(line); m != nil && m[1] >= "400" {
			f.Kind, f.Reason, best = run.DownloadFailed, "HTTP status "+m[1], -1
		}
		if reason, i := downloadPhrases.meaning(line); i < best {
			f.Kind, f.Reason, best = run.DownloadFailed, reason, i
		}
	}
}

// FailedDownloads groups the failed downloads by reason, the largest group first.
func (l *Log) FailedDownloads() []run.FailedDownloads {
	byReason := map[string][]nix.StorePath{}
	for drv, f := range l.failures {
		if f.Kind == run.DownloadFailed {
			byReason[f.Reason] = append(byReason[f.Reason], drv)
		}
	}
	var groups []run.FailedDownloads
	for reason, drvs := range byReason {
		slices.Sort(drvs)
		groups = append(groups, run.FailedDownloads{Reason: reason, Derivations: drvs})
	}
	slices.SortFunc(groups, func(a, b run.FailedDownloads) int {
		return cmp.Or(cmp.Compare(len(b.Derivations), len(a.Derivations)), cmp.Compare(a.Reason, b.Reason))
	})
	return groups
}

// HashMismatches returns the fetches with a wrong hash, in the order of their derivations.
func (l *Log) HashMismatches() []contract.Mismatch {
	var all []contract.Mismatch
	for _, drv := range slices.Sorted(maps.Keys(l.failures)) {
		if m, ok := contract.ParseMismatch(l.failures[drv].Message); ok {
			all = append(all, m)
		}
	}
	return all
}
