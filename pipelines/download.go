package pipelines

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// failedDownload is how Nix says that it could not download something: the URL, and why.
var failedDownload = regexp.MustCompile(`^unable to download '([^']*)'(.*)$`)

// The reasons of a failed download, but for "HTTP status …".
const (
	noHost       = "could not resolve host"
	noNetwork    = "no network"
	noConnection = "could not connect"
	noTLS        = "no valid TLS certificate"
	tooSlow      = "the server is too slow"
	noMirror     = "no mirror has it"
)

var httpStatus = regexp.MustCompile(`(?i)(?:returned error:|HTTP error|HTTP status(?: code)?:?|HTTP/[\d.]+) (\d{3})`)

// downloadReasons tell why a fetcher gave up, by the words of curl, git and Nix, most telling first.
var downloadReasons = []struct{ words, reason string }{
	{"resolve host", noHost}, // "Could not resolve host", "Couldn't resolve host name", "Could not resolve hostname"
	{"name resolution", noHost},
	{"Name or service not known", noHost},
	{"Network is unreachable", noNetwork},
	{"No route to host", noNetwork},
	{"Failed to connect", noConnection},
	{"connect to server", noConnection},
	{"Connection refused", noConnection},
	{"Connection timed out", noConnection},
	{"Connection reset", noConnection},
	{"certificate", noTLS},
	{"Operation too slow", tooSlow},
	{"Operation timed out", tooSlow},
	{"Timeout was reached", tooSlow},
	{"from any mirror", noMirror},
}

// download makes a failed download of the failure of a fixed-output derivation, if the end of its log says why nothing
// was downloaded. Its builder does nothing but fetch, so its log is about that; a wrong hash is a kind of its own.
func (f *Failure) download(tail []string) {
	if f.Kind != BuilderFailed {
		return
	}
	best := len(downloadReasons)
	for _, line := range tail {
		if m := httpStatus.FindStringSubmatch(line); m != nil && m[1] >= "400" {
			f.Kind, f.Reason, best = DownloadFailed, "HTTP status "+m[1], -1
		}
		for i, known := range downloadReasons {
			if i < best && strings.Contains(line, known.words) {
				f.Kind, f.Reason, best = DownloadFailed, known.reason, i
			}
		}
	}
}

// downloadHint says what to do about a download that failed for a reason.
func downloadHint(reason string) string {
	const again = "; the packages are not at fault: run the same command again"
	switch {
	case reason == noHost:
		return "check the network and the name servers of the machine that builds" + again
	case reason == noTLS:
		return "check the clock and the certificates of the machine that builds (NIX_SSL_CERT_FILE)"
	case strings.HasPrefix(reason, "HTTP status 4"), reason == noMirror:
		return "look whether the URL is still there; its new place goes into the package, or a cache has what it downloads (--substituter)"
	}
	return "check the network of the machine that builds, and its proxy (https_proxy)" + again
}

// FailedDownloads are the fixed-output derivations of a cell that could not be downloaded for the same reason.
type FailedDownloads struct {
	Reason      string          `json:"reason"`
	Derivations []nix.StorePath `json:"derivations"`
}

func (d FailedDownloads) String() string {
	return fmt.Sprintf("%s failed: %s", count(len(d.Derivations), "download"), d.Reason)
}

// downloads groups the downloads that failed, the largest group first.
func (l *buildLog) downloads() []FailedDownloads {
	l.mu.Lock()
	defer l.mu.Unlock()
	byReason := map[string][]nix.StorePath{}
	for drv, f := range l.failures {
		if f.Kind == DownloadFailed {
			byReason[f.Reason] = append(byReason[f.Reason], drv)
		}
	}
	var groups []FailedDownloads
	for reason, drvs := range byReason {
		slices.Sort(drvs)
		groups = append(groups, FailedDownloads{Reason: reason, Derivations: drvs})
	}
	slices.SortFunc(groups, func(a, b FailedDownloads) int {
		return cmp.Or(cmp.Compare(len(b.Derivations), len(a.Derivations)), cmp.Compare(a.Reason, b.Reason))
	})
	return groups
}
