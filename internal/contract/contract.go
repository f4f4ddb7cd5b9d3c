package contract

import "github.com/scopecreep-zip/open-sesame-ci/matrix"

// Contract is what a flake promises. A section that is left out promises nothing.
type Contract struct {
	// File is where it was read from, for messages.
	File string `toml:"-,omitempty"`
	// Strict makes a failure of every warning.
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
	// Default is the package that packages.<system>.default is, to the derivation.
	Default matrix.Package `toml:"default,omitempty"`
	// Overlay is the overlay's name under overlays; applied to the flake's nixpkgs it gives OverlayPackages.
	Overlay string `toml:"overlay,omitempty"`
	// OverlayNeeds are overlays that are applied before, by their paths below the flake's inputs.
	// One that is not there is passed over.
	OverlayNeeds    []string         `toml:"overlay-needs,omitempty"`
	OverlayPackages []matrix.Package `toml:"overlay-packages,omitempty"`
	// Modules are the names under homeManagerModules, DevShells those under devShells.<system>.
	Modules   []string `toml:"home-manager-modules,omitempty"`
	DevShells []string `toml:"dev-shells,omitempty"`
}

// Package is what a built package holds.
type Package struct {
	// Binaries are files in bin: executable and, where they are ELF, for the system's machine.
	Binaries []string `toml:"binaries,omitempty"`
	// Files are further files. A name without a slash may be in any directory.
	Files []string `toml:"files,omitempty"`
	// Units are targets and services of systemd, in Units.Dir.
	Units []string `toml:"units,omitempty"`
	// NoDefaultFeatures says that Cargo builds it with --no-default-features.
	NoDefaultFeatures bool `toml:"no-default-features,omitempty"`
	// NotInClosure are names of packages, such as "wayland", that it must not refer to at run time.
	NotInClosure []string `toml:"not-in-closure,omitempty"`
	// Wrapped are binaries that are started with a variable set.
	Wrapped []Wrapped `toml:"wrapped,omitempty"`
	// Propagates are packages in nix-support/propagated-build-inputs.
	Propagates []matrix.Package `toml:"propagates,omitempty"`
	// OnPath are the binaries in the bin of an environment that this package alone is installed into.
	OnPath []string `toml:"on-path,omitempty"`
}

// Wrapped is a binary that is started with Variable set to a directory of the closure that ends in Suffix.
type Wrapped struct {
	Binary   string `toml:"binary,omitempty"`
	Variable string `toml:"variable,omitempty"`
	Suffix   string `toml:"suffix,omitempty"`
}

// Directives are those of a unit's section, or an option of the Home Manager module.
// A list asks for at least its elements; "*" stands for any value but none.
type Expectations map[string]Values

// Units are the unit files of the packages.
type Units struct {
	// Dir is where they are in a package.
	Dir string `toml:"dir,omitempty"`
	// Forbidden are texts that no unit may hold, such as "/usr/bin".
	Forbidden []string `toml:"forbidden,omitempty"`
	// Service is what the [Service] sections of all services say.
	Service Expectations `toml:"service,omitempty"`
	// Of is what single units say beyond that, by name: units.of."open-sesame-secrets.service".
	Of map[string]Expectations `toml:"of,omitempty"`
	// Verify asks for systemd-analyze --user verify, where that program is there.
	Verify bool `toml:"verify,omitempty"`
}

// Hashes are the hashes of Cargo's git dependencies.
type Hashes struct {
	// Lock is the path of Cargo.lock in the tree.
	Lock string `toml:"lock,omitempty"`
	// Files hold a cargoLock.outputHashes each, and all the same one.
	Files []string `toml:"files,omitempty"`
}

// SourceFilter says which files have a part in the packages' derivations.
type SourceFilter struct {
	Packages []matrix.Package `toml:"packages,omitempty"`
	// Ignores are files and directories of the tree that may change without a rebuild; Follows those that may not.
	// What the tree does not have is passed over.
	Ignores []string `toml:"ignores,omitempty"`
	Follows []string `toml:"follows,omitempty"`
}

// PreCheck is the isolation of the packages' tests.
type PreCheck struct {
	Packages []matrix.Package `toml:"packages,omitempty"`
	// Contains is a text of each of their preCheck.
	Contains string `toml:"contains,omitempty"`
}

// HomeManager is the module of the flake, as Home Manager sees it.
type HomeManager struct {
	// Module is its name under homeManagerModules; Option is the path of its options, such as "programs.open-sesame".
	Module string `toml:"module,omitempty"`
	Option string `toml:"option,omitempty"`
	// Headless and Desktop are what it makes in each mode.
	Headless Suite `toml:"headless,omitempty"`
	Desktop  Suite `toml:"desktop,omitempty"`
	// Targets are what targets say by "Unit" and "Install" taken together: home-manager.targets.open-sesame-desktop.
	Targets map[string]Expectations `toml:"targets,omitempty"`
	// Service is what all services say in any of their sections, Of what single ones do beyond that.
	Service Expectations            `toml:"service,omitempty"`
	Of      map[string]Expectations `toml:"of,omitempty"`
	// ConfigFile is made below ~/.config where there are settings or profiles, with ConfigVersion as its config_version.
	ConfigFile    string `toml:"config-file,omitempty"`
	ConfigVersion int    `toml:"config-version,omitempty"`
	// LogLevels are the values of logLevel; each reaches RUST_LOG.
	LogLevels []string `toml:"log-levels,omitempty"`
	// SessionVariables are those of systemd's user sessions.
	SessionVariables map[string]string `toml:"session-variables,omitempty"`
}

// Suite is what the module makes in one mode: exactly these units, and at least these rules.
type Suite struct {
	Package  matrix.Package `toml:"package,omitempty"`
	Targets  []string       `toml:"targets,omitempty"`
	Services []string       `toml:"services,omitempty"`
	Tmpfiles []string       `toml:"tmpfiles,omitempty"`
}

// NixConfig is the flake's own nixConfig.
type NixConfig struct {
	// Substituters and Keys are those of the cache that is pushed to; the flake names at least these.
	Substituters []string `toml:"substituters,omitempty"`
	Keys         []string `toml:"keys,omitempty"`
}

// Lock is about flake.lock.
type Lock struct {
	// Nixpkgs is the input whose age is reported; it is warned of above MaxAgeDays, where that is not 0.
	Nixpkgs    string `toml:"nixpkgs,omitempty"`
	MaxAgeDays int    `toml:"max-age-days,omitempty"`
}
