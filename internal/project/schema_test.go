package project

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/scopecreep-zip/open-sesame-ci/internal/contract"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

const schemaFile = "../../docs/nix-release.schema.json"

var update = flag.Bool("update", false, "write the JSON schema")

// The schema for editors is generated from the types that the parser decodes into.
func TestSchemaIsGenerated(t *testing.T) {
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	s := schema(reflect.TypeFor[Project](), comments(t, "project.go"))
	s["$schema"], s["title"] = "https://json-schema.org/draft/2020-12/schema", FileName
	if err := e.Encode(s); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(schemaFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(schemaFile); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is of other types (%v); to write it: go test ./internal/project -run Schema -update", schemaFile, err)
	}
}

// An editor accepts what the parser accepts.
func TestSchemaAgreesWithTheParser(t *testing.T) {
	compiled, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("../../ci/opensesame/nix-release.toml")
	if err != nil {
		t.Fatal(err)
	}
	requirements, err := os.ReadFile("../../ci/opensesame/contract.toml")
	if err != nil {
		t.Fatal(err)
	}
	inline := "[contract." + strings.ReplaceAll(strings.ReplaceAll(string(requirements), "\n[", "\n[contract."), "[contract.[", "[[contract.")
	inline = inline[strings.Index(inline, "\n[")+1:]
	for name, test := range map[string]struct {
		text  string
		valid bool
	}{
		"nothing":       {"", true},
		"all":           {all, true},
		"Open Sesame's": {string(ours), true},
		"its contract":  {inline, true},
		"unknown key":   {"cachyx = 'c'", false},
		"contract key":  {"[contract.outputs]\npakages = []", false},
		"type":          {"packages = 'a'", false},
		"element":       {"substituters = [1]", false},
		"system":        {"systems = ['aarch64-linx']", false},
		"rebuild":       {"rebuild = 'yes'", false},
		"size":          {"memlock = '1T'", false},
		"revisions":     {"keep-revisions = -1", false},
	} {
		t.Run(name, func(t *testing.T) {
			var value map[string]any
			if _, err := toml.Decode(test.text, &value); err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if err := compiled.Validate(document); (err == nil) != test.valid {
				t.Errorf("schema: %v, want valid: %t", err, test.valid)
			}
			if _, err := Parse("p.toml", []byte(test.text)); (err == nil) != test.valid {
				t.Errorf("parser: %v, want valid: %t", err, test.valid)
			}
		})
	}
}

// schema returns the JSON schema of a type, with descriptions for the fields of the first one.
func schema(t reflect.Type, descriptions map[string]string) map[string]any {
	switch t {
	case reflect.TypeFor[matrix.System]():
		return map[string]any{"enum": matrix.Systems()}
	case reflect.TypeFor[Size]():
		return map[string]any{"type": "string", "pattern": "^[0-9]+[KMG]?$"}
	case reflect.TypeFor[contract.Values]():
		one := map[string]any{"type": []string{"string", "integer", "boolean"}}
		return map[string]any{"anyOf": []any{one, map[string]any{"type": "array", "items": one}}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schema(t.Elem(), nil)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schema(t.Elem(), nil)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": schema(t.Elem(), nil)}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.String:
		return map[string]any{"type": "string"}
	}
	properties := map[string]any{}
	for _, field := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if key == "" || key == "-" {
			continue
		}
		s := schema(field.Type, nil)
		if text := descriptions[field.Name]; text != "" {
			s["description"] = text
		}
		if key == "rebuild" {
			s["enum"] = []string{Enforce, Warn, Off}
		}
		properties[key] = s
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}

// comments returns the comments of the fields in a file, by the fields' names.
func comments(t *testing.T, file string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if field, ok := n.(*ast.Field); ok && field.Doc != nil {
			for _, name := range field.Names {
				texts[name.Name] = strings.ReplaceAll(strings.TrimSpace(field.Doc.Text()), "\n", " ")
			}
		}
		return true
	})
	return texts
}
