// Package scaffold makes the first files of a flake: its settings, its contract, and a workflow for GitHub.
//
// Names in a flake can be a stranger's. Each file is parsed before it is returned, and has to have the meaning that it
// was made from. The workflow has no name of the flake in it.
package scaffold

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/internal/project"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The names of the files in the flake's directory. That of the settings is [project.FileName].
const (
	ContractFile = "nix-release.contract.toml"
	WorkflowFile = ".github/workflows/nix-release.yml"
)

// DefaultSecret is the secret of the workflow if the settings name none.
const DefaultSecret = "CACHIX_AUTH_TOKEN"

var (
	//go:embed nix-release.toml.tmpl
	settingsText string
	//go:embed workflow.yml.tmpl
	workflowText string

	settingsTemplate = template.Must(template.New(project.FileName).Funcs(template.FuncMap{"setting": setting}).Parse(settingsText))
	workflowTemplate = template.Must(template.New(WorkflowFile).Delims("[[", "]]").Funcs(template.FuncMap{"quote": quote}).Parse(workflowText))
)

// Settings returns nix-release.toml with the settings of a project. Those that it lacks are comments, as examples.
// Revision is the tag or the commit of this program.
func Settings(p *project.Project, revision string) ([]byte, error) {
	preset := project.Default()
	view := struct {
		project.Project
		Memlock                                any
		Revision                               string
		ContractName, PresetCaches, PresetKeys string
	}{
		Project: *p, Revision: revision,
		ContractName: value(ContractFile), PresetCaches: value(preset.Substituters), PresetKeys: value(preset.TrustedKeys),
	}
	if p.Memlock > 0 {
		view.Memlock = p.Memlock
	}
	if slices.Equal(p.Substituters, preset.Substituters) && slices.Equal(p.TrustedKeys, preset.TrustedKeys) {
		view.Substituters, view.TrustedKeys = nil, nil
	}
	var b bytes.Buffer
	if err := settingsTemplate.Execute(&b, view); err != nil {
		return nil, fmt.Errorf("make %s: %w", project.FileName, err)
	}
	parsed, err := project.Parse(project.FileName, b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", project.FileName, err)
	}
	for i, want := range p.Settings() {
		if got := parsed.Settings()[i]; got.Value != want.Value {
			return nil, fmt.Errorf("make %s: %s is %q in it, want %q", project.FileName, want.Name, got.Value, want.Value)
		}
	}
	return b.Bytes(), nil
}

// setting returns a line with a setting, or an example in a comment if it has no value.
func setting(key string, of any, example string) (string, error) {
	switch of := of.(type) {
	case nil:
		return "# " + key + " = " + example, nil
	case string:
		if of == "" {
			return setting(key, nil, example)
		}
	case []string:
		if of == nil {
			return setting(key, nil, example)
		}
	case []matrix.Package:
		if len(of) == 0 {
			return setting(key, nil, example)
		}
	}
	return key + " = " + value(of), nil
}

// value returns a value as TOML.
func value(of any) string {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(map[string]any{"k": of}); err != nil {
		panic(err) // all strings and lists can be encoded
	}
	_, text, _ := strings.Cut(strings.TrimSuffix(b.String(), "\n"), " = ")
	return text
}

// Contract returns a contract as TOML. It was drafted from the packages of one system.
func Contract(c *contract.Contract, from matrix.System) ([]byte, error) {
	text, err := c.Encode()
	if err != nil {
		return nil, err
	}
	parsed, err := contract.Parse(ContractFile, text)
	if err != nil {
		return nil, err
	}
	again, err := parsed.Encode()
	if err == nil && !bytes.Equal(text, again) {
		err = errors.New("it has another meaning when it is read")
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", ContractFile, err)
	}
	header := fmt.Sprintf("# What this flake has: a first version, made from its packages for %s. Remove what is accidental, and add what\n"+
		"# a release must have: docs/contract.md of scopecreep-zip/open-sesame-ci has all sections.\n\n", from)
	return append([]byte(header), text...), nil
}

// Workflow returns a workflow for GitHub that builds and releases a project. Action is the revision of this repository's
// action, with a comment.
func Workflow(p *project.Project, action string) ([]byte, error) {
	view := struct {
		project.Trust
		Systems      []matrix.System
		Action, Args string
	}{p.Trust, p.Systems, action, upstreamArgs(p)}
	var b bytes.Buffer
	var err error
	view.SecretEnv, err = project.ParseSecret(cmp.Or(view.SecretEnv, DefaultSecret))
	if err == nil {
		err = workflowTemplate.Execute(&b, view)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", WorkflowFile, err)
	}
	return b.Bytes(), nil
}

// upstreamArgs returns the flags of publish for the caches that have what the builds leave out, one on each line. Publish
// does not read the settings of the flake.
func upstreamArgs(p *project.Project) string {
	preset := project.Default()
	var lines []string
	for _, url := range p.Substituters {
		if !slices.Contains(preset.Substituters, url) && url != p.ServedBy {
			lines = append(lines, "--substituter", url)
		}
	}
	for _, key := range p.TrustedKeys {
		if !slices.Contains(preset.TrustedKeys, key) && key != p.PublicKey {
			lines = append(lines, "--trusted-key", key)
		}
	}
	return strings.Join(lines, "\n")
}

// quote returns a text as a string of YAML. GitHub would replace an expression in it.
func quote(text string) (string, error) {
	if strings.Contains(text, "${{") {
		return "", fmt.Errorf("%q has an expression of GitHub in it", text)
	}
	return strconv.QuoteToASCII(text), nil // YAML has the same escapes
}
