package sbom

import (
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// name has the parts of a store object's name.
type name struct {
	name, version string
	output        string // empty if unknown
}

// parseName parses a store object's name. Only the deriver's name distinguishes an output's suffix from a version:
// openssl-3.5.2-dev is the output dev of openssl-3.5.2.
func parseName(info nix.PathInfo) name {
	whole := info.Path.Name()
	var n name
	if drv, ok := strings.CutSuffix(info.Deriver.Name(), ".drv"); ok {
		if whole == drv {
			n.output = "out"
		} else if output, ok := strings.CutPrefix(whole, drv+"-"); ok {
			whole, n.output = drv, output
		}
	}
	n.name, n.version = nix.ParseDrvName(whole)
	if n.name == "" { // a component must have a name
		n.name, n.version = whole, ""
	}
	return n
}
