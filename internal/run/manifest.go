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

// Manifest describes a run: enough to reproduce it and to compare with it. Two runs of one snapshot on one engine have
// the same manifest, except for times, seconds and the directory of the logs.
type Manifest struct {
	Version int    `json:"version"`
	Tool    string `json:"tool"`
	Command string `json:"command"`
	// Outcome is the result of the run in one word. A run that was killed has no manifest.
	Outcome Outcome `json:"outcome,omitempty"`
	// Started and Finished are in UTC, to the second.
	Started  string `json:"started"`
	Finished string `json:"finished"`
	// Logs is the directory of the run's build logs: OUT/logs/<run>.
	Logs   string   `json:"logs,omitempty"`
	Source Snapshot `json:"source"`
	// Inputs are the locked inputs of the flake. Overridden inputs are in Source.Overrides instead.
	Inputs []flake.Input `json:"inputs,omitempty"`
	// Settings are the settings of every command of Nix.
	Settings nix.Settings `json:"settings,omitempty"`
	// Contract has the results of the checks of the flake's files. The cells have those of the checks of outputs.
	Contract []contract.Result `json:"contract,omitempty"`
	Cells    []CellResult      `json:"cells"`
}

// maxManifest limits the size of a manifest. A manifest of a hundred cells has some hundred KiB.
const maxManifest = 64 << 20

// ReadManifest reads the manifest of an earlier run. It refuses another version of the schema, since absent fields of
// that version could be misread.
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
		return nil, errors.Unwrap(err) // ReadManifest names the file
	}
	return parseManifest(data)
}

// ReadManifestIn is [ReadManifest] for a file of a directory. It also returns the text of the file.
func ReadManifestIn(dir *regular.Dir, name string) ([]byte, *Manifest, error) {
	data, err := dir.Read(name, maxManifest)
	if err != nil {
		return nil, nil, err
	}
	m, err := parseManifest(data)
	if err != nil {
		return nil, nil, fmt.Errorf("read manifest %s: %w", dir.File(name), err)
	}
	return data, m, nil
}

func parseManifest(data []byte) (*Manifest, error) {
	var version struct {
		Version *int `json:"version"`
	}
	if err := regular.UnmarshalJSON(data, &version); err != nil {
		return nil, fmt.Errorf("it is incomplete or not JSON: %v", err)
	}
	if version.Version == nil {
		return nil, errors.New("it has no version: it is not a manifest")
	}
	if *version.Version != ManifestVersion {
		return nil, hint.Wrap(fmt.Errorf("it has version %d; this program reads version %d", *version.Version, ManifestVersion),
			"use the version of this program that its field tool names")
	}
	m := new(Manifest)
	if err := regular.UnmarshalJSON(data, m); err != nil {
		return nil, fmt.Errorf("it was edited: %v", err)
	}
	return m, m.validate()
}

// validate checks the names and store paths, which are not parsed again.
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

// Cell returns the result of a system, if the manifest has it.
func (m *Manifest) Cell(system matrix.System) (CellResult, bool) {
	for _, c := range m.Cells {
		if c.System == system {
			return c, true
		}
	}
	return CellResult{}, false
}

// MarkUnknown marks outputs without a second build as [Unknown].
func (m *Manifest) MarkUnknown() {
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
