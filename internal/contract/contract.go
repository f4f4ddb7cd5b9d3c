// Package contract checks whether a flake satisfies its contract.
//
// A [Contract] is data: requirements of a flake's outputs, packages, units, module, lock files and settings. It is read
// from a TOML file. A flake may have more than its contract requires.
//
// There are three kinds of checks, by what they need:
//
//   - files of the tree ([Contract.Static]): without Nix, in milliseconds, before anything is built;
//   - one evaluation for each system ([Contract.Evaluate]);
//   - what was built ([Contract.Built]): the files of the outputs, and their closure.
//
// The only program that this package runs is systemd-analyze, on units; package pipelines runs Nix for it. Every planned
// check has to report a result: [Contract.Finish] adds a failure for one that does not.
package contract

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Contract is what is required of a flake. A section that is left out requires nothing.
type Contract struct {
	// File is the file that it was read from, for messages.
	File string `toml:"-"`
	// Strict turns every warning into a failure.
	Strict bool `toml:"strict,omitempty"`

	Outputs      Outputs                    `toml:"outputs,omitempty"`
	Packages     map[matrix.Package]Package `toml:"package,omitempty"`
	Units        *Units                     `toml:"units,omitempty"`
	Hashes       *Hashes                    `toml:"hashes,omitempty"`
	SourceFilter *SourceFilter              `toml:"source-filter,omitempty"`
	PreCheck     *PreCheck                  `toml:"pre-check,omitempty"`
	HomeManager  *HomeManager               `toml:"home-manager,omitempty"`
	NixConfig    *NixConfig                 `toml:"nix-config,omitempty"`
	Lock         *Lock                      `toml:"lock,omitempty"`
}

// Outputs are attributes of the flake.
type Outputs struct {
	// Packages are those under packages.<system>.
	Packages []matrix.Package `toml:"packages,omitempty"`
	// Default is the package with the same derivation as packages.<system>.default.
	Default matrix.Package `toml:"default,omitempty"`
	// Overlay is the overlay's name under overlays. Applied to the flake's nixpkgs, it defines OverlayPackages.
	Overlay string `toml:"overlay,omitempty"`
	// OverlayNeeds are overlays that are applied first, by their paths below the flake's inputs. Those that do not exist
	// are ignored.
	OverlayNeeds    []string         `toml:"overlay-needs,omitempty"`
	OverlayPackages []matrix.Package `toml:"overlay-packages,omitempty"`
	// Modules are the names under homeManagerModules, DevShells those under devShells.<system>.
	Modules   []string `toml:"home-manager-modules,omitempty"`
	DevShells []string `toml:"dev-shells,omitempty"`
}

// Package is what is required of a built package.
type Package struct {
	// Binaries are executables in bin. Where they are ELF files, they are for the system's processor.
	Binaries []string `toml:"binaries,omitempty"`
	// Files are further files. A name without a slash may be in any directory.
	Files []string `toml:"files,omitempty"`
	// Units are targets and services of systemd, in Units.Dir.
	Units []string `toml:"units,omitempty"`
	// NoDefaultFeatures says that Cargo builds it with --no-default-features.
	NoDefaultFeatures bool `toml:"no-default-features,omitempty"`
	// NotInClosure are names of packages, such as "wayland", that must not be in its closure.
	NotInClosure []string `toml:"not-in-closure,omitempty"`
	// Wrapped are binaries that are started with a variable set.
	Wrapped []Wrapped `toml:"wrapped,omitempty"`
	// Propagates are packages in nix-support/propagated-build-inputs.
	Propagates []matrix.Package `toml:"propagates,omitempty"`
	// OnPath are the binaries in bin of an environment in which only this package is installed.
	OnPath []string `toml:"on-path,omitempty"`
}

// Wrapped is a binary that is started with Variable set to a directory of the closure that ends in Suffix.
type Wrapped struct {
	Binary   string `toml:"binary,omitempty"`
	Variable string `toml:"variable,omitempty"`
	Suffix   string `toml:"suffix,omitempty"`
}

// Expectations are the required values of directives in a unit's section. A list requires at least its elements; "*"
// requires any value.
type Expectations map[string]Values

// Units are requirements of the packages' unit files.
type Units struct {
	// Dir is their directory in a package.
	Dir string `toml:"dir,omitempty"`
	// Forbidden are texts that no unit may contain, such as "/usr/bin".
	Forbidden []string `toml:"forbidden,omitempty"`
	// Service is required of the [Service] sections of all services.
	Service Expectations `toml:"service,omitempty"`
	// Of has further requirements of single units, by name: units.of."hello.service".
	Of map[string]Expectations `toml:"of,omitempty"`
	// Verify runs systemd-analyze --user verify, where that program is installed.
	Verify bool `toml:"verify,omitempty"`
}

// Hashes are the hashes of Cargo's git dependencies.
type Hashes struct {
	// Lock is the path of Cargo.lock in the tree.
	Lock string `toml:"lock,omitempty"`
	// Files have a cargoLock.outputHashes each, with the same entries.
	Files []string `toml:"files,omitempty"`
}

// SourceFilter is about the files that change the packages' derivations.
type SourceFilter struct {
	Packages []matrix.Package `toml:"packages,omitempty"`
	// A change of Ignores, files and directories of the tree, must not rebuild the packages; a change of Follows must.
	// Those that the tree does not have are ignored.
	Ignores []string `toml:"ignores,omitempty"`
	Follows []string `toml:"follows,omitempty"`
}

// PreCheck is about the isolation of the packages' tests.
type PreCheck struct {
	Packages []matrix.Package `toml:"packages,omitempty"`
	// Contains is a text that the preCheck of each has to contain.
	Contains string `toml:"contains,omitempty"`
}

// HomeManager is about the Home Manager module of the flake.
type HomeManager struct {
	// Module is its name under homeManagerModules; Option is the path of its options, such as "programs.hello".
	Module string `toml:"module,omitempty"`
	Option string `toml:"option,omitempty"`
	// Headless and Desktop are what it configures in each mode.
	Headless Suite `toml:"headless,omitempty"`
	Desktop  Suite `toml:"desktop,omitempty"`
	// Targets has requirements of the sections Unit and Install of targets: home-manager.targets.hello-desktop.
	Targets map[string]Expectations `toml:"targets,omitempty"`
	// Service is required of all services, in any of their sections; Of has further requirements of single services.
	Service Expectations            `toml:"service,omitempty"`
	Of      map[string]Expectations `toml:"of,omitempty"`
	// ConfigFile is generated below ~/.config if there are settings or profiles. Its config_version is ConfigVersion.
	ConfigFile    string `toml:"config-file,omitempty"`
	ConfigVersion int    `toml:"config-version,omitempty"`
	// LogLevels are the values of logLevel. Each sets RUST_LOG.
	LogLevels []string `toml:"log-levels,omitempty"`
	// SessionVariables are variables of systemd's user sessions.
	SessionVariables map[string]string `toml:"session-variables,omitempty"`
}

// Suite is what the module configures in one mode: exactly these units, and at least these rules.
type Suite struct {
	Package  matrix.Package `toml:"package,omitempty"`
	Targets  []string       `toml:"targets,omitempty"`
	Services []string       `toml:"services,omitempty"`
	Tmpfiles []string       `toml:"tmpfiles,omitempty"`
}

// NixConfig is about the flake's nixConfig.
type NixConfig struct {
	// Substituters and Keys are those of the cache for pushes. The flake has to name at least these.
	Substituters []string `toml:"substituters,omitempty"`
	Keys         []string `toml:"keys,omitempty"`
}

// Lock is about flake.lock.
type Lock struct {
	// Nixpkgs is the input whose age is reported. Above MaxAgeDays, where that is not 0, it is a warning.
	Nixpkgs    string `toml:"nixpkgs,omitempty"`
	MaxAgeDays int    `toml:"max-age-days,omitempty"`
}

// maxFile is the maximum size of a file that is read: nixpkgs has one of 20 MiB.
const maxFile = 64 << 20

// Load reads a contract from a file.
func Load(file string) (*Contract, error) {
	data, err := regular.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read contract %s: %w", file, cause(err))
	}
	return Parse(file, data)
}

// cause returns an error without its operation and path, for a message that names both.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Parse parses a contract. An unknown key is an error: a misspelt key would check nothing.
func Parse(file string, data []byte) (*Contract, error) {
	c := &Contract{File: file}
	if _, err := tomlfile.Decode("contract", file, data, c); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("parse contract %s: %w", file, err)
	}
	return c, nil
}

// Check checks the values of a contract that was decoded.
func (c *Contract) Check() error {
	for _, p := range c.evaluatedPackages() {
		if _, err := matrix.ParsePackage(string(p)); err != nil {
			return err
		}
	}
	return nil
}

// Values are a string, a number, a boolean or a list of such.
type Values []string

// UnmarshalTOML reads a single value as a list of one.
func (v *Values) UnmarshalTOML(data any) error {
	list, ok := data.([]any)
	if !ok {
		list = []any{data}
	}
	for _, e := range list {
		switch e := e.(type) {
		case string, int64, bool:
			*v = append(*v, fmt.Sprint(e))
		default:
			return errors.New("want a string, an integer, a boolean or a list of such")
		}
	}
	return nil
}
