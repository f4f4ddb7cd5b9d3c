package buildlog

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// failedDownload is Nix's message about a failed download: the URL, and the reason.
var failedDownload = regexp.MustCompile(`^unable to download '([^']*)'(.*)$`)

var httpStatus = regexp.MustCompile(`(?i)(?:returned error:|HTTP error|HTTP status(?: code)?:?|HTTP/[\d.]+) (\d{3})`)

// downloadReasons find why a fetcher failed, by the words of curl, git and Nix, the most specific first.
var downloadReasons = []struct{ words, reason string }{
	{"resolve host", run.NoHost}, // "Could not resolve host", "Couldn't resolve host name", "Could not resolve hostname"
	{"name resolution", run.NoHost},
	{"Name or service not known", run.NoHost},
	{"Network is unreachable", run.NoNetwork},
	{"No route to host", run.NoNetwork},
	{"Failed to connect", run.NoConnection},
	{"connect to server", run.NoConnection},
	{"Connection refused", run.NoConnection},
	{"Connection timed out", run.NoConnection},
	{"Connection reset", run.NoConnection},
	{"certificate", run.NoTLS},
	{"Operation too slow", run.TooSlow},
	{"Operation timed out", run.TooSlow},
	{"Timeout was reached", run.TooSlow},
	{"from any mirror", run.NoMirror},
}

// downloadFailure changes the kind of a fixed-output derivation's failure to a failed download, if the end of its log has
// a reason for that. Such a builder only fetches, so its log is about the download. A hash mismatch keeps its kind.
func downloadFailure(f *run.Failure, tail []string) {
	if f.Kind != run.BuilderFailed {
		return
	}
	best := len(downloadReasons)
	for _, line := range tail {
		if m := httpStatus.FindStringSubmatch(line); m != nil && m[1] >= "400" {
			f.Kind, f.Reason, best = run.DownloadFailed, "HTTP status "+m[1], -1
		}
		for i, known := range downloadReasons {
			if i < best && strings.Contains(line, known.words) {
				f.Kind, f.Reason, best = run.DownloadFailed, known.reason, i
			}
		}
	}
}

// FailedDownloads groups the failed downloads by reason, the largest group first.
func (l *Log) FailedDownloads() []run.FailedDownloads {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []contract.Mismatch
	for _, drv := range slices.Sorted(maps.Keys(l.failures)) {
		if m, ok := contract.ParseMismatch(l.failures[drv].Message); ok {
			all = append(all, m)
		}
	}
	return all
}
