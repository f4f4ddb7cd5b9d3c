package hint

import "strings"

// Quote makes an argument safe to paste into a shell.
func Quote(s string) string {
	if s != "" && strings.Trim(s, unquoted) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// unquoted are the characters that have no meaning to a shell, wherever they stand in an argument.
const unquoted = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789%+,-./:=@_"
