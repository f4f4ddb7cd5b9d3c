package report

import (
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// Summary writes the summary of a manifest, as at the end of a report.
func Summary(w io.Writer, m *run.Manifest) error {
	var v view
	v.apply(run.RunFinished{Manifest: m})
	return outputOf(w).show(joinLines(style{}.summary(&v)))
}
