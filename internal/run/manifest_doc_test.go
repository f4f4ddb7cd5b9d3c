package run

import (
	"encoding"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page has exactly the fields of the manifest. The fields of a type that occurs twice are in the page once.
func TestManifestIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := documentedFields(string(page))
	fields := jsonFields(reflect.TypeFor[Manifest](), "", make(map[reflect.Type]bool))
	for _, field := range fields {
		if !slices.Contains(documented, field) {
			t.Errorf("docs/manifest.md does not document %s: add a line to the block in Fields", field)
		}
	}
	for _, field := range documented {
		if !slices.Contains(fields, field) {
			t.Errorf("docs/manifest.md documents %s, which no manifest has", field)
		}
	}
}

func TestManifestVerdictsAndFailuresAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []Verdict{Built, Substituted, Present, Served, Failed, Previewed, ToBuild, ToFetch} {
		if !strings.Contains(string(page), "\n| `"+string(v)+"` |") {
			t.Errorf("docs/manifest.md does not document verdict %q", v)
		}
	}
	page, err = os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []FailureKind{
		EvaluationFailed, BuilderFailed, OutOfMemory, DiskFull, SubstituterFailed, TimedOut, HashMismatch,
		DependencyFailed, Interrupted, EngineLost, BuilderLost, UnsupportedFailure, UnknownFailure,
		NotReproducible, OutputRefused, Killed, DownloadFailed, LogLimit, Unfinished,
	} {
		if !strings.Contains(string(page), "\n| "+string(k)+" |") {
			t.Errorf("docs/operations.md does not document failure kind %q", k)
		}
	}
}

var fieldLine = regexp.MustCompile(`(?m)^( *)(\w+(?:\[\])?)  `)

// documentedFields returns the paths of the fields in the block of the section "Fields", where two spaces are one level.
func documentedFields(page string) []string {
	_, section, _ := strings.Cut(page, "\n## Fields\n")
	_, block, _ := strings.Cut(section, "\n```\n")
	block, _, _ = strings.Cut(block, "\n```\n")
	var fields, parents []string
	for _, m := range fieldLine.FindAllStringSubmatch(block, -1) {
		parents = append(parents[:min(len(m[1])/2, len(parents))], m[2])
		fields = append(fields, strings.TrimSuffix(strings.Join(parents, "."), "[]"))
	}
	return fields
}

// jsonFields returns the paths of all fields of a type in JSON: "source.url", "cells[].system". It leaves out the fields of
// types that it has seen before.
func jsonFields(t reflect.Type, prefix string, seen map[reflect.Type]bool) []string {
	switch {
	case t.Kind() == reflect.Pointer:
		return jsonFields(t.Elem(), prefix, seen)
	case t.Kind() == reflect.Slice:
		return jsonFields(t.Elem(), prefix+"[]", seen)
	case t.Kind() != reflect.Struct || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return nil // one value; the keys of a map are data
	case seen[t]:
		return nil
	}
	seen[t] = true
	var fields []string
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if prefix != "" {
			name = prefix + "." + name
		}
		fields = append(fields, name)
		fields = append(fields, jsonFields(field.Type, name, seen)...)
	}
	return fields
}

func TestManifestOutcomesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range bySeverity {
		if !strings.Contains(string(page), "\n| `"+string(o)+"` |") {
			t.Errorf("docs/manifest.md does not document outcome %q", o)
		}
	}
}
