package provenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/types/known/timestamppb"
	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// external are the parameters that the user has chosen. A reader must check them before trusting an output.
type external struct {
	Command   string                             `json:"command"`
	Flake     string                             `json:"flake"`
	Subdir    string                             `json:"subdir,omitempty"`
	Packages  map[matrix.System][]matrix.Package `json:"packages"`
	Overrides map[string]string                  `json:"overrides,omitempty"`
}

// internal are the parameters that this program has chosen.
type internal struct {
	Settings map[string]string            `json:"settings,omitempty"`
	Systems  map[matrix.System]conditions `json:"systems"`
}

// conditions are the conditions of the builds of a system. The names of the fields are those of the manifest.
type conditions struct {
	Engine   *engine.Engine `json:"engine,omitempty"`
	Emulated bool           `json:"emulated"`
	Sandbox  *bool          `json:"sandbox,omitempty"`
	Memlock  *int64         `json:"memlock,omitempty"`
	// Machines are those that could build; empty where nothing was built.
	Machines []run.Machine `json:"machines,omitempty"`
	// Second describes the second build; absent if there was none.
	Second *run.SecondBuild `json:"second,omitempty"`
	// Reported is true if the builder of the statement has not made the builds: the conditions are as their runs report them.
	Reported bool `json:"reported,omitempty"`
}

func buildDefinition(m *run.Manifest) (*slsa.BuildDefinition, error) {
	given := external{
		Command: m.Command, Flake: m.Source.URL, Subdir: m.Source.Subdir,
		Packages: map[matrix.System][]matrix.Package{}, Overrides: m.Source.Overrides,
	}
	chosen := internal{Settings: map[string]string{}, Systems: map[matrix.System]conditions{}}
	for name, value := range m.Settings {
		chosen.Settings[name] = nix.Redact(value) // a cache's URL may hold credentials
	}
	for _, cell := range m.Cells {
		for _, p := range cell.Packages {
			given.Packages[cell.System] = append(given.Packages[cell.System], p.Package)
		}
		chosen.Systems[cell.System] = conditions{cell.Engine, cell.Emulated, cell.Sandbox, cell.Memlock, cell.Machines, cell.Second, cell.Reported}
	}
	d := &slsa.BuildDefinition{BuildType: BuildType}
	var externalErr, internalErr, err error
	d.ExternalParameters, externalErr = object(given)
	d.InternalParameters, internalErr = object(chosen)
	d.ResolvedDependencies, err = dependencies(m)
	return d, errors.Join(externalErr, internalErr, err)
}

// dependencies are the source tree, its lock, its inputs and the container images.
func dependencies(m *run.Manifest) ([]*intoto.ResourceDescriptor, error) {
	source, err := tree("source", m.Source.URL, m.Source.NARHash, m.Source.Rev)
	if err != nil {
		return nil, err
	}
	source.Annotations, err = object(map[string]any{"lastModified": m.Source.LastModified, "dirty": m.Source.Dirty})
	all := []*intoto.ResourceDescriptor{source}
	if err == nil && m.Source.LockHash != "" {
		lock := &intoto.ResourceDescriptor{Name: "flake.lock"}
		lock.Digest, err = sha256Of(m.Source.LockHash)
		all = append(all, lock)
	}
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	named := map[string]bool{}
	for _, in := range m.Inputs {
		d, err := tree("inputs/"+in.Name, in.URL, in.NARHash, in.Rev)
		if err != nil {
			return nil, err
		}
		named[in.Name] = true
		all = append(all, d)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Source.Overrides)) {
		if !named[name] { // only the reference of the replacement is known
			all = append(all, &intoto.ResourceDescriptor{Name: "inputs/" + name, Uri: m.Source.Overrides[name]})
		}
	}
	return append(all, images(m)...), nil
}

var gitCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// tree describes a tree that Nix has fetched, by the hash of its NAR and by its Git commit, if any.
func tree(name, uri, narHash, rev string) (*intoto.ResourceDescriptor, error) {
	d := &intoto.ResourceDescriptor{Name: name, Digest: map[string]string{}}
	if strings.Contains(uri, ":") { // the name of the built-in flake is no URI
		d.Uri = uri
	}
	if gitCommit.MatchString(rev) && !strings.HasPrefix(uri, "hg+") {
		d.Digest["gitCommit"] = rev
	}
	if narHash == "" {
		return d, nil
	}
	hash, err := sha256Of(narHash)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	maps.Copy(d.Digest, hash)
	d.MediaType = narType
	return d, nil
}

// images returns the container images that Nix ran in, each once. An image from a file has a digest, but no reference.
func images(m *run.Manifest) []*intoto.ResourceDescriptor {
	var all []*intoto.ResourceDescriptor
	seen := map[string]bool{"": true}
	for _, cell := range m.Cells {
		if cell.Engine == nil || seen[cell.Engine.Image] {
			continue
		}
		image := cell.Engine.Image
		seen[image] = true
		d := &intoto.ResourceDescriptor{Name: "image"}
		reference, digest, ok := strings.Cut(image, "sha256:")
		if ok {
			d.Digest = map[string]string{"sha256": digest}
		}
		if reference != "" {
			d.Uri = "docker://" + image
		}
		all = append(all, d)
	}
	return all
}

func runDetails(m *run.Manifest, f Facts) (*slsa.RunDetails, error) {
	started, startedErr := time.Parse(time.RFC3339, m.Started)
	finished, finishedErr := time.Parse(time.RFC3339, m.Finished)
	if err := errors.Join(startedErr, finishedErr); err != nil {
		return nil, err
	}
	tool, version, _ := strings.Cut(m.Tool, " ")
	r := &slsa.RunDetails{
		Builder: &slsa.Builder{Id: f.Builder, Version: map[string]string{tool: version}},
		Metadata: &slsa.BuildMetadata{
			InvocationId: f.Invocation, StartedOn: timestamppb.New(started), FinishedOn: timestamppb.New(finished),
		},
	}
	if f.Builder == "" {
		r.Builder.Id = project + "@v" + version
	}
	if f.Invocation == "" && m.Logs != "" {
		r.Metadata.InvocationId = path.Base(m.Logs) // the run's ID
	}
	for _, file := range f.Byproducts {
		r.Byproducts = append(r.Byproducts, &intoto.ResourceDescriptor{
			Name: file.Name, MediaType: file.MediaType, Digest: map[string]string{"sha256": file.Hash.RawBase16()},
		})
	}
	return r, nil
}

// Facts are the facts in a statement that the manifest does not have. They can be empty.
type Facts struct {
	// Builder is the URI of the trusted platform that ran the program, such as a workflow on GitHub Actions:
	// https://github.com/OWNER/REPO/.github/workflows/FILE@REF. Empty means the program itself.
	Builder string
	// Invocation is the URI of the run; empty means the run's ID.
	Invocation string
	Byproducts []File
}

type File struct {
	Name      string // relative to the directory of the results, with slashes
	MediaType string
	Hash      nix.Hash
}

// HashBytes returns the SHA-256 of a file's contents.
func HashBytes(contents []byte) nix.Hash {
	hasher := gonix.NewHasher(gonix.SHA256)
	_, _ = hasher.Write(contents)
	return hasher.SumHash()
}

// HashFile returns a file of a run's results with the SHA-256 of its bytes, for [Facts].Byproducts.
func HashFile(ctx context.Context, out *regular.Dir, name, mediaType string) (File, error) {
	f, err := out.OpenRegular(filepath.FromSlash(name))
	if err != nil {
		return File{}, fmt.Errorf("hash file: %w", err)
	}
	defer f.Close()
	hasher := gonix.NewHasher(gonix.SHA256)
	if _, err := io.Copy(hasher, regular.Until(ctx, f)); err != nil {
		return File{}, fmt.Errorf("hash file: %w", err)
	}
	return File{Name: name, MediaType: mediaType, Hash: hasher.SumHash()}, nil
}
