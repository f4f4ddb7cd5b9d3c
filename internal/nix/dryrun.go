package nix

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// DryRun is the plan that nix-store --realise --dry-run prints.
type DryRun struct {
	Build []StorePath // derivations
	Fetch []StorePath
	// Unknown are paths that no substituter has and no derivation builds.
	Unknown       []StorePath
	DownloadBytes int64
	UnpackedBytes int64
}

var fetchSizes = regexp.MustCompile(`\(([0-9.]+) (\w+) download, ([0-9.]+) (\w+) unpacked\)`)

// ParseDryRun parses the standard error of a dry run: a heading for each kind, with its paths indented below.
func ParseDryRun(stderr string) DryRun {
	var d DryRun
	var list *[]StorePath
	for line := range strings.Lines(PlainText(stderr)) {
		heading := strings.TrimSpace(line)
		switch {
		case strings.HasSuffix(heading, "will be built:"):
			list = &d.Build
		case strings.Contains(heading, "will be fetched"):
			list = &d.Fetch
			if m := fetchSizes.FindStringSubmatch(heading); m != nil {
				d.DownloadBytes, d.UnpackedBytes = parseSize(m[1], m[2]), parseSize(m[3], m[4])
			}
		case strings.Contains(heading, "don't know how to build"):
			list = &d.Unknown
		case strings.HasPrefix(line, " ") && list != nil:
			if p, err := ParseStorePath(heading); err == nil {
				*list = append(*list, p)
			}
		default:
			list = nil
		}
	}
	return d
}

// units are the exponents of the units of a size, to base 1024.
var units = map[string]int{"B": 0, "bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}

// parseSize returns a size in bytes. Nix prints it in MiB up to version 2.29, and in a suitable unit since.
func parseSize(number, unit string) int64 {
	f, err := strconv.ParseFloat(number, 64)
	exponent, ok := units[unit]
	if err != nil || !ok {
		return 0
	}
	return int64(math.Ldexp(f, 10*exponent))
}
