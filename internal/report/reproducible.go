package report

import (
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// rebuilt is what stands behind an output: GOOD, BAD or UNKNOWN, whether a second build came out the same.
func rebuilt(o run.Output) string {
	if o.Rebuild == "" {
		return ""
	}
	return "  " + strings.ToUpper(string(o.Rebuild))
}

// proven counts the outputs that a second build has proven to be reproducible. It is empty where none was built again.
func proven(m *run.Manifest) string {
	good, bad, all := 0, 0, 0
	for _, c := range m.Cells {
		for _, p := range c.Packages {
			for _, o := range p.Outputs {
				all++
				switch o.Rebuild {
				case run.Good:
					good++
				case run.Bad:
					bad++
				}
			}
		}
	}
	if good+bad == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %s reproducible", good, count(all, "output"))
}
