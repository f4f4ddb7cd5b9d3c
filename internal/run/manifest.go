package run

import (
	"errors"
	"fmt"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/flake"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// ManifestVersion is the version of the manifest's schema, documented in docs/manifest.md.
const ManifestVersion = 1

// Manifest is the record of a run: enough to reproduce it and to compare with it.
// All but times, seconds and the directory of the logs is the same for two runs of the same snapshot on the same engine.
type Manifest struct {
	Version int    `json:"version"`
	Tool    string `json:"tool"`
	Command string `json:"command"`
	// Outcome is the end of the run in one word. A run that did not come to its end, such as a killed one, has no manifest.
	Outcome Outcome `json:"outcome,omitempty"`
	// Started and Finished are in UTC, to the second.
	Started  string `json:"started"`
	Finished string `json:"finished"`
	// Logs is the directory of the run's build logs, which bears its time: OUT/logs/<run>.
	Logs   string   `json:"logs,omitempty"`
	Source Snapshot `json:"source"`
	// Inputs are what the flake's inputs are locked to, as they took part: those that were overridden are in Source.Overrides.
	Inputs []flake.Input `json:"inputs,omitempty"`
	// Settings are those that every command of Nix was given.
	Settings nix.Settings `json:"settings,omitempty"`
	// Contract is what the checks of the flake's files found; those of what was built are with their cells.
	Contract []contract.Result `json:"contract,omitempty"`
	Cells    []CellResult      `json:"cells"`
}

// maxManifest bounds what is read as a manifest: one of a hundred cells has some hundred KiB.
const maxManifest = 64 << 20

// ReadManifest reads the manifest of an earlier run. One of another version of the schema is refused:
// what it does not say could be taken for something that was not so.
func ReadManifest(file string) (*Manifest, error) {
	m, err := readManifest(file)
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", file, err)
	}
	return m, nil
}

func readManifest(file string) (*Manifest, error) {
	data, err := regular.Read(file, maxManifest)
	if err != nil {
		return nil, errors.Unwrap(err) // the name is said already
	}
	return parseManifest(data)
}

func parseManifest(data []byte) (*Manifest, error) {
	var version struct {
		Version *int `json:"version"`
	}
	if err := regular.UnmarshalJSON(data, &version); err != nil {
		return nil, fmt.Errorf("it is not whole, or no JSON: %v", err)
	}
	if version.Version == nil {
		return nil, errors.New("it has no version: it is not a manifest")
	}
	if *version.Version != ManifestVersion {
		return nil, hint.Wrap(fmt.Errorf("it is of version %d, and this program knows version %d", *version.Version, ManifestVersion),
			"use the version of this program that its field \"tool\" names")
	}
	m := new(Manifest)
	if err := regular.UnmarshalJSON(data, m); err != nil {
		return nil, fmt.Errorf("it has been altered: %v", err)
	}
	return m, m.validate()
}

// validate looks at what others parse no more.
func (m *Manifest) validate() error {
	for _, cell := range m.Cells {
		if _, err := matrix.ParseSystem(string(cell.System)); err != nil {
			return err
		}
		for _, p := range cell.Packages {
			if _, err := matrix.ParsePackage(string(p.Package)); err != nil {
				return err
			}
			for _, o := range p.Outputs {
				if _, err := nix.ParseStorePath(string(o.Path)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Settle says of outputs that were not rebuilt that nothing is known of them, rather than nothing.
func (m *Manifest) Settle() {
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			for i := range p.Outputs {
				if p.Outputs[i].Rebuild == "" {
					p.Outputs[i].Rebuild = Unknown
				}
			}
		}
	}
}

func Timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
