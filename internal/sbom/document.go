// Package sbom lists the runtime closure of an output as a software bill of materials in the form of CycloneDX 1.6
// (https://cyclonedx.org/docs/1.6/json/).
//
// Nix finds the runtime closure by scanning outputs for store paths, so it has all store objects. Code that was linked
// or copied into an object leaves no reference, and has no separate component.
package sbom

import (
	"bytes"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// Package is the subject of a document.
type Package struct {
	Name    matrix.Package
	System  matrix.System
	Outputs []nix.StorePath
	// Tool is this program and its version, such as "open-sesame-ci 0.1.0"; Time is that of the run.
	Tool string
	Time time.Time
}

// Of returns the document of a package: the package, its outputs, and their closure.
// It depends only on its arguments. The closure can be in any order and have more paths than needed.
// A reference that is not in the closure is an error: the document must be complete.
func Of(p Package, closure []nix.PathInfo) (*cdx.BOM, error) {
	closure = nix.Closure(closure, p.Outputs...)
	slices.SortFunc(closure, func(a, b nix.PathInfo) int { return strings.Compare(string(a.Path), string(b.Path)) })
	if err := checkComplete(p, closure); err != nil {
		return nil, fmt.Errorf("list closure of %s on %s: %w", p.Name, p.System, err)
	}
	components := make([]cdx.Component, len(closure))
	dependencies := []cdx.Dependency{dependency(p.ref(), p.Outputs)}
	for i, info := range closure {
		components[i] = component(info)
		dependencies = append(dependencies, dependency(ref(info.Path), info.References))
	}
	root := p.component(closure)
	tool, version, _ := strings.Cut(p.Tool, " ")
	bom := cdx.NewBOM()
	bom.SerialNumber = p.serialNumber(closure)
	bom.Metadata = &cdx.Metadata{
		Timestamp: p.Time.UTC().Format(time.RFC3339),
		Tools:     &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: tool, Version: version}}},
		Component: &root,
	}
	bom.Components = &components
	bom.Dependencies = &dependencies
	return bom, nil
}

// Encode returns the document as JSON, with two spaces of indentation.
func Encode(bom *cdx.BOM) ([]byte, error) {
	var b bytes.Buffer
	encoder := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false)
	// Scanners read 1.6 today; by default the library writes the newest version.
	if err := encoder.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("encode bill of materials: %v", err)
	}
	return printable.EscapeJSON(b.Bytes()), nil
}

// checkComplete checks that the closure has the outputs and all references.
func checkComplete(p Package, closure []nix.PathInfo) error {
	there := make(map[nix.StorePath]bool, len(closure))
	for _, info := range closure {
		there[info.Path] = true
	}
	for _, path := range p.Outputs {
		if !there[path] {
			return fmt.Errorf("its output %s is not in the closure", path)
		}
	}
	for _, info := range closure {
		for _, r := range info.References {
			if !there[r] {
				return fmt.Errorf("%s, which %s refers to, is not in the closure", r, info.Path)
			}
		}
	}
	return nil
}

// serialNumber is derived from the package and its outputs: the same outputs have the same number.
func (p Package) serialNumber(closure []nix.PathInfo) string {
	text := p.ref() + "\n"
	for _, path := range nix.SortedPaths(p.Outputs) {
		for _, info := range closure {
			if info.Path == path {
				text += string(path) + " " + info.NARHash.SRI() + "\n"
			}
		}
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(text)).URN()
}

// ref is the reference to the package in the document: its attribute in the flake.
func (p Package) ref() string { return fmt.Sprintf("packages.%s.%s", p.System, p.Name) }

// component describes the package as a whole; it has the version of its first output.
func (p Package) component(closure []nix.PathInfo) cdx.Component {
	c := cdx.Component{
		BOMRef: p.ref(), Type: cdx.ComponentTypeApplication, Name: string(p.Name),
		Properties: &[]cdx.Property{{Name: "nix:system", Value: string(p.System)}},
	}
	for _, info := range closure {
		if len(p.Outputs) > 0 && info.Path == p.Outputs[0] {
			c.Version = parseName(info).version
		}
	}
	c.PackageURL = purl(c.Name, c.Version)
	return c
}

// component describes a store object. The names of its properties are those of sbomnix, if sbomnix has them.
func component(info nix.PathInfo) cdx.Component {
	n := parseName(info)
	properties := []cdx.Property{
		{Name: "nix:output_path", Value: string(info.Path)},
		{Name: "nix:nar_hash", Value: info.NARHash.SRI()},
		{Name: "nix:nar_size", Value: strconv.FormatInt(info.NARSize, 10)},
	}
	if n.output != "" {
		properties = append(properties, cdx.Property{Name: "nix:output", Value: n.output})
	}
	if info.Deriver != "" {
		properties = append(properties, cdx.Property{Name: "nix:drv_path", Value: string(info.Deriver)})
	}
	return cdx.Component{
		BOMRef: ref(info.Path), Type: cdx.ComponentTypeLibrary, Name: n.name, Version: n.version,
		PackageURL: purl(n.name, n.version),
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: info.NARHash.RawBase16()}},
		Properties: &properties,
	}
}

// purl returns a package URL. The type nix is a candidate of the specification (package-url/purl-spec, pull request 877);
// other tools write the same name and version, and there is no agreement on further parts.
func purl(name, version string) string {
	text := "pkg:nix/" + url.QueryEscape(name)
	if version != "" {
		text += "@" + url.QueryEscape(version)
	}
	return text
}

func ref(path nix.StorePath) string { return path.Base() }

// dependency lists the dependencies of an object, without a reference to itself.
func dependency(from string, references []nix.StorePath) cdx.Dependency {
	to := []string{}
	for _, r := range nix.SortedPaths(references) {
		if ref(r) != from {
			to = append(to, ref(r))
		}
	}
	return cdx.Dependency{Ref: from, Dependencies: &to}
}

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
