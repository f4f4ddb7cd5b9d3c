package run

import "github.com/scopecreep-zip/open-sesame-ci/internal/flake"

// Snapshot is the exact tree of a flake that a run builds. Package flake takes it.
type Snapshot = flake.Snapshot
