package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rhysd/actionlint"
)

// contexts has the contexts of expressions: github, inputs, needs and so on, as values of encoding/json.
type contexts map[string]any

// expand replaces each ${{ }} in a text. A text that is one expression has the expression's value, whatever it is.
// https://docs.github.com/actions/reference/workflows-and-actions/expressions
func (c contexts) expand(text string) (any, error) {
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "${{")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		expr, behind, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, fmt.Errorf("expand %q: no end of the expression", text)
		}
		value, err := c.evaluate(expr)
		if err != nil {
			return nil, err
		}
		if before == "" && behind == "" && rest == text {
			return value, nil
		}
		out.WriteString(word(value))
		rest = behind
	}
}

// evaluate returns the value of an expression without its braces.
func (c contexts) evaluate(expr string) (any, error) {
	node, exprErr := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(expr + "}}"))
	if exprErr != nil {
		return nil, fmt.Errorf("parse expression %q: %v", expr, exprErr)
	}
	return c.value(node)
}

func (c contexts) value(node actionlint.ExprNode) (any, error) {
	switch n := node.(type) {
	case *actionlint.NullNode:
		return nil, nil
	case *actionlint.BoolNode:
		return n.Value, nil
	case *actionlint.IntNode:
		return float64(n.Value), nil
	case *actionlint.StringNode:
		return n.Value, nil
	case *actionlint.VariableNode:
		value, ok := c[n.Name]
		if !ok {
			return nil, fmt.Errorf("evaluate expression: no context %s", n.Name)
		}
		return value, nil
	case *actionlint.ObjectDerefNode:
		receiver, err := c.value(n.Receiver)
		object, _ := receiver.(map[string]any) // every property of a value that is not an object is null
		for name, value := range object {
			if strings.EqualFold(name, n.Property) {
				return value, err
			}
		}
		return nil, err
	case *actionlint.NotOpNode:
		operand, err := c.value(n.Operand)
		return !truthy(operand), err
	case *actionlint.LogicalOpNode:
		left, err := c.value(n.Left)
		if err != nil || truthy(left) == (n.Kind == actionlint.LogicalOpNodeKindOr) {
			return left, err
		}
		return c.value(n.Right)
	case *actionlint.CompareOpNode:
		left, err := c.value(n.Left)
		if err != nil {
			return nil, err
		}
		right, err := c.value(n.Right)
		if err != nil || !n.Kind.IsEqualityOp() {
			return nil, fmt.Errorf("evaluate comparison: not of a kind that is used here: %v", err)
		}
		return equal(left, right) == (n.Kind == actionlint.CompareOpNodeKindEq), nil
	case *actionlint.FuncCallNode:
		return c.call(n)
	}
	return nil, fmt.Errorf("evaluate expression: %T is not used here", node)
}

func (c contexts) call(n *actionlint.FuncCallNode) (any, error) {
	var args []any
	for _, arg := range n.Args {
		value, err := c.value(arg)
		if err != nil {
			return nil, err
		}
		args = append(args, value)
	}
	switch name := strings.ToLower(n.Callee); {
	case name == "always":
		return true, nil
	case name == "cancelled":
		return c["cancelled"] == true, nil
	case name == "format":
		text := word(args[0])
		for i, arg := range args[1:] {
			text = strings.ReplaceAll(text, fmt.Sprintf("{%d}", i), word(arg))
		}
		return text, nil
	case name == "fromjson":
		var value any
		err := json.Unmarshal([]byte(word(args[0])), &value)
		return value, err
	}
	return nil, fmt.Errorf("evaluate expression: function %s is not used here", n.Callee)
}

func truthy(v any) bool { return v != nil && v != false && v != "" && v != float64(0) }

// equal compares as GitHub does: strings without regard to case; null is the empty string.
func equal(a, b any) bool {
	if _, ok := a.(bool); ok {
		return a == b
	}
	return strings.EqualFold(word(a), word(b))
}

// word returns a value as text.
func word(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func TestExpressions(t *testing.T) {
	c := contexts{"github": map[string]any{"event_name": "push", "number": float64(12), "event": map[string]any{}}}
	for text, want := range map[string]any{
		"plain":                    "plain",
		"${{ github.event_name }}": "push",
		"a ${{ github.event_name }}-${{ github.number }}":  "a push-12",
		"${{ github.event_name == 'Push' }}":               true,
		"${{ github.event_name != 'push' }}":               false,
		"${{ !github.event.pull_request.number }}":         true,
		"${{ github.event.a.b || github.sha || 'x' }}":     "x",
		"${{ github.event_name == 'push' && 'y' || 'z' }}": "y",
		"${{ format('{0}:{1}', github.event_name, 1) }}":   "push:1",
		"${{ fromJSON('[1]') }}":                           []any{float64(1)},
		"${{ (1 == 2) != (1 == 1) }}":                      true,
	} {
		got, err := c.expand(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"${{ secrets.A }}", "${{ github.a", "${{ 1 < 2 }}", "${{ hashFiles('a') }}"} {
		if got, err := c.expand(text); err == nil {
			t.Errorf("%s is %v, want an error", text, got)
		}
	}
}

// with returns the contexts with another one.
func (c contexts) with(name string, value any) contexts {
	more := maps.Clone(c)
	more[name] = value
	return more
}

// pullOf returns the run of a pull request whose head is in that repository; empty for one that is gone.
func pullOf(head string) contexts { return runFrom("pull_request", "1", 7, head) }

// runOf returns the run that an event of the repository starts.
func runOf(event, id string, number int) contexts {
	return runFrom(event, id, number, callersRepository)
}

func runFrom(event, id string, number int, head string) contexts {
	github := map[string]any{
		"event_name": event, "run_id": id, "workflow": "Release", "ref": "refs/heads/main", "sha": "5ha", "event": map[string]any{},
		"repository": callersRepository,
	}
	if number > 0 {
		github["ref"] = fmt.Sprintf("refs/pull/%d/merge", number)
		github["event"] = map[string]any{"pull_request": map[string]any{"number": float64(number), "head": map[string]any{
			"sha": "4ead", "repo": map[string]any{"full_name": head},
		}}}
	}
	return contexts{"github": github}
}
