package main

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// Shared code uses the fields of a command's spec, and compares no names: a comparison would forget a new command.
func TestCommandNamesAreNotCompared(t *testing.T) {
	names := map[string]bool{}
	for _, c := range newRoot(process{}).Commands() {
		names[c.Name()] = true
	}
	if !names["release"] || !names["check"] {
		t.Fatalf("commands %v", names)
	}
	isName := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.BasicLit:
			text, err := strconv.Unquote(e.Value)
			return e.Kind == token.STRING && err == nil && names[text]
		case *ast.Ident: // a constant, such as commandRelease
			return len(e.Name) > len("command") && strings.HasPrefix(e.Name, "command")
		case *ast.SelectorExpr:
			return e.Sel.Name == "name" && isSpec(e.X)
		}
		return false
	}
	for _, f := range goFiles(t) {
		if f.test || f.pkg != "ci" || f.name == "ci/command.go" {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			var compared []ast.Expr
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op == token.EQL || n.Op == token.NEQ {
					compared = []ast.Expr{n.X, n.Y}
				}
			case *ast.CaseClause:
				compared = n.List
			}
			for _, e := range compared {
				if isName(e) {
					t.Errorf("%v compares the name of a command; add a field to its spec", f.fset.Position(e.Pos()))
				}
			}
			return true
		})
	}
}

// isSpec reports whether an expression is a value of type command, by its name.
func isSpec(e ast.Expr) bool {
	ident, ok := e.(*ast.Ident)
	return ok && (ident.Name == "cmd" || strings.HasSuffix(ident.Name, "Command"))
}

func TestCommandSpecs(t *testing.T) {
	for _, cmd := range []command{releaseCommand, warmCommand, buildCommand, planCommand, checkCommand, reproduceCommand} {
		switch {
		case cmd.readOnly && cmd.exports:
			t.Errorf("%s exports, and is read-only", cmd.name)
		case cmd.pins && !cmd.publishes:
			t.Errorf("%s pins, and does not publish", cmd.name)
		case cmd.exportsAll && !cmd.exports:
			t.Errorf("%s exports all, and does not export", cmd.name)
		}
	}
}
