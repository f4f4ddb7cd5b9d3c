package hint

import "strings"

// Program begins each command of this program in a hint. Package ci replaces it by the name of the call, with [For].
const Program = "go run ./ci"

// For returns a hint for a user who has called this program by that name; empty for [Program].
func For(program, advice string) string {
	if program == "" {
		return advice
	}
	return strings.ReplaceAll(advice, Program, program)
}
