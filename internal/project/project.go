// Package project has the settings of a release: which packages of a flake are built, how, and where they are
// published. A flake has them in the file nix-release.toml.
package project

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// FileName is the name of the file in the flake's directory.
const FileName = "nix-release.toml"

// The values of rebuild: what a difference between two builds of a package does.
const (
	Enforce = "enforce"
	Warn    = "warn"
	Off     = "off"
)

// Project is a flake with its settings. Flags of the same names override them.
type Project struct {
	Flake string `toml:"-"`
	// Packages are the packages that are built. Empty: all of packages.<system>.
	Packages []matrix.Package `toml:"packages"`
	// Systems are the systems that they are built for.
	Systems []matrix.System `toml:"systems"`
	// Memlock is how much memory the packages' tests lock.
	Memlock Size `toml:"memlock"`
	// Rebuild is what a difference between two builds of a package does. Empty: the default of each command.
	Rebuild string `toml:"rebuild"`
	// ContractFile is the file with the requirements of the flake, in its tree.
	ContractFile string `toml:"contract-file"`
	// Contract has the requirements of the flake, in place of a file.
	Contract *contract.Contract `toml:"contract"`
	Trust

	file *tomlfile.File // nil where there is none
}

// Trust has the settings that extend trust: where this machine fetches from, where it sends builds and results, and
// which secret it uses. A flake may be a stranger's, so its file can set them only with the user's consent.
type Trust struct {
	// Substituters are the caches that Nix fetches from, as in nix.conf.
	Substituters []string `toml:"substituters" json:"substituters,omitempty"`
	// TrustedKeys are the public keys of these caches, as in nix.conf.
	TrustedKeys []string `toml:"trusted-keys" json:"trusted-keys,omitempty"`
	// ServedBy is the URL of the cache that consumers use. Outputs that it has are not built.
	ServedBy string `toml:"served-by" json:"served-by,omitempty"`
	// Cachix is the name of the Cachix cache that results are pushed to. Empty: none.
	Cachix string `toml:"cachix" json:"cachix,omitempty"`
	// PublicKey is the public key of that cache.
	PublicKey string `toml:"public-key" json:"public-key,omitempty"`
	// SecretEnv is the name of the variable with the auth token or the signing key of that cache.
	SecretEnv string `toml:"secret-env" json:"secret-env,omitempty"`
	// KeepRevisions is how many revisions of a pin that cache keeps; 0 for all. It removes older ones.
	KeepRevisions int `toml:"keep-revisions" json:"keepRevisions,omitempty"`
	// Engines build: auto, dagger, host, or SYSTEM=URL of a native Dagger engine.
	Engines []string `toml:"engines" json:"engines,omitempty"`
	// Builders are remote builders, one machine each, as in nix.conf.
	Builders []string `toml:"builders" json:"builders,omitempty"`
}

// Default returns the settings of a flake that has no file: all packages for both systems, fetched from cache.nixos.org,
// and nothing published.
func Default() *Project {
	return &Project{Systems: matrix.DefaultSystems(), Trust: defaultTrust()}
}

func defaultTrust() Trust {
	return Trust{
		Substituters: []string{"https://cache.nixos.org"},
		TrustedKeys:  []string{"cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="},
	}
}

// Parse parses a file. A setting that it lacks has its default. Errors have the file, the line and the column.
func Parse(file string, data []byte) (*Project, error) {
	p := Default()
	f, err := tomlfile.Decode("project", file, data, p)
	if err != nil {
		return nil, err
	}
	p.file = f
	checks := map[string]func() error{
		"packages": func() error { return each(p.Packages, matrix.ParsePackage) },
		"systems": func() error {
			if len(p.Systems) == 0 {
				return errors.New("want at least one")
			}
			return each(p.Systems, matrix.ParseSystem)
		},
		"rebuild": func() error { return oneOf(p.Rebuild, "", Enforce, Warn, Off) },
		"secret-env": func() error {
			if p.SecretEnv == "" {
				return nil
			}
			_, err := ParseSecret(p.SecretEnv)
			return err
		},
		"builders": func() error { return each(p.Builders, parseBuilder) },
		"keep-revisions": func() error {
			if p.KeepRevisions < 0 {
				return fmt.Errorf("%d: want 0 or more", p.KeepRevisions)
			}
			return nil
		},
		"contract-file": func() error {
			if p.ContractFile != "" && !filepath.IsLocal(p.ContractFile) {
				return fmt.Errorf("%q is not a file of the flake", p.ContractFile)
			}
			return nil
		},
	}
	for _, key := range slices.Sorted(maps.Keys(checks)) { // the same error in every run
		if err := checks[key](); err != nil {
			return nil, p.Errorf(key, err)
		}
	}
	if p.Contract != nil {
		if p.ContractFile != "" {
			return nil, p.Errorf("contract-file", fmt.Errorf("the file has a [contract], too: one of them"))
		}
		p.Contract.File = file
		if err := p.Contract.Check(); err != nil {
			return nil, p.Errorf("contract", err)
		}
	}
	return p, nil
}

// parseBuilder parses one machine. It reads no file of machines: the user has not consented yet, and errors show its text.
func parseBuilder(text string) ([]nix.Builder, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "@") || strings.ContainsAny(text, ";\n") {
		return nil, fmt.Errorf("%q is not one machine", text)
	}
	return nix.ParseBuilders(text)
}

// each parses each value.
func each[T any, E ~string](values []E, parse func(string) (T, error)) error {
	for _, v := range values {
		if _, err := parse(string(v)); err != nil {
			return err
		}
	}
	return nil
}

func oneOf(value string, values ...string) error {
	if slices.Contains(values, value) {
		return nil
	}
	err := fmt.Errorf("%q is not one of %s", value, values[1:])
	if near := hint.Nearest(value, values[1:], 1); len(near) > 0 {
		return hint.Wrap(err, "did you mean %s?", near[0])
	}
	return err
}

// Errorf returns an error about a setting, with its position in the file if the setting is from there.
func (p *Project) Errorf(key string, err error) error {
	if p.Origin(key) == "default" {
		return fmt.Errorf("%s: %w", key, err)
	}
	return p.file.Errorf([]string{key}, "%s: %w", key, err)
}

// Origin says where a setting is from: "default", or the file and its line.
func (p *Project) Origin(key string) string {
	if p.file == nil || !slices.Contains(p.file.Keys(), key) {
		return "default"
	}
	return p.file.Line(key)
}

// Extends returns the settings of the file that extend trust, in its order.
func (p *Project) Extends() []string {
	if p.file == nil {
		return nil
	}
	return slices.DeleteFunc(p.file.Keys(), func(key string) bool { return !slices.Contains(tomlfile.KeysOf(Trust{}), key) })
}

// WithoutTrust returns the settings with the defaults of those that extend trust.
func (p *Project) WithoutTrust() *Project {
	q := *p
	q.Trust = defaultTrust()
	return &q
}

// Setting is a setting with its value, and where that is from.
type Setting struct{ Name, Value, Origin string }

// Settings returns all settings.
func (p *Project) Settings() []Setting {
	var all []Setting
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Project]()) {
		key := field.Tag.Get("toml")
		if key == "" || key == "-" {
			continue
		}
		text := fmt.Sprint(reflect.ValueOf(p).Elem().FieldByIndex(field.Index).Interface())
		if key == "contract" {
			text = "" // it is long
		}
		all = append(all, Setting{key, strings.Trim(text, "[]"), p.Origin(key)})
	}
	return all
}

// secretName matches the names that GitHub allows for secrets.
var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// needed are variables that the program and its children need. That of a secret is removed from the environment.
var needed = []string{"PATH", "HOME", "TMPDIR"}

// ParseSecret returns the name of a variable that can be the name of a secret, too.
func ParseSecret(name string) (string, error) {
	if !secretName.MatchString(name) || strings.HasPrefix(strings.ToUpper(name), "GITHUB_") || slices.Contains(needed, name) {
		return "", fmt.Errorf("parse name of secret %q: want letters, digits and underscores, not GITHUB_ at its begin, and none of %v", name, needed)
	}
	return name, nil
}
