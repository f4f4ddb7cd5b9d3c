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

// failedDownload is how Nix says that it could not download something: the URL, and why.
var failedDownload = regexp.MustCompile(`^unable to download '([^']*)'(.*)$`)

var httpStatus = regexp.MustCompile(`(?i)(?:returned error:|HTTP error|HTTP status(?: code)?:?|HTTP/[\d.]+) (\d{3})`)

// downloadReasons tell why a fetcher gave up, by the words of curl, git and Nix, most telling first.
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

// download makes a failed download of the failure of a fixed-output derivation, if the end of its log says why nothing
// was downloaded. Its builder does nothing but fetch, so its log is about that; a wrong hash is a kind of its own.
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

// downloads groups the downloads that failed, the largest group first.
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

// mismatches returns the fetches whose hash was wrong, in the order of their derivations.
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
