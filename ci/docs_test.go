package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The tests, files and pages that documents name exist.
func TestDocumentsNameWhatExists(t *testing.T) {
	var (
		test = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)(?:/[^`]*)?`")
		file = regexp.MustCompile("`((?:ci|cachix|docs|example|internal|matrix|pipelines|\\.ci)/[A-Za-z0-9_./*-]+)`")
		page = regexp.MustCompile(`\b(docs/[a-z-]+\.md)\b`)
		link = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	)
	tests := definedTests(t)
	for _, doc := range documents(t) {
		text := readTest(t, doc)
		for _, m := range test.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("%s names the test %s, which does not exist", doc, m[1])
			}
		}
		for _, m := range append(file.FindAllStringSubmatch(text, -1), page.FindAllStringSubmatch(text, -1)...) {
			if found, err := filepath.Glob(filepath.Join("..", m[1])); err != nil || len(found) == 0 {
				t.Errorf("%s names %s, which does not exist", doc, m[1])
			}
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("pages %q, %v", docs, err)
	}
	return append(docs, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md")
}

// definedTests returns the names of all tests and fuzz targets of this module, and of methods that have such names.
func definedTests(t *testing.T) map[string]bool {
	t.Helper()
	definition := regexp.MustCompile(`(?m)^func (?:\([^)]*\) )?((?:Test|Fuzz)\w*)\(`)
	tests := make(map[string]bool)
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range definition.FindAllStringSubmatch(readTest(t, path), -1) {
			tests[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests
}
