package printable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON returns a value as JSON that can be shown, with a newline at its end. Every document and event that the program
// writes as JSON is made here. Without an indent it is one line.
func JSON(value any, indent string) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return EscapeJSON(text.Bytes()), nil
}

// EscapeJSON also escapes in JSON characters that could control a terminal or GitHub's runner, or mislead a reader. It does
// not change the values.
func EscapeJSON(text []byte) []byte {
	text = commandAnywhere.ReplaceAll(text, []byte(`$1\u005b`))
	if bytes.IndexFunc(text, isEscaped) < 0 {
		return text
	}
	var escaped []byte
	for _, r := range string(text) {
		switch high, low := utf16.EncodeRune(r); {
		case !isEscaped(r):
			escaped = append(escaped, string(r)...)
		case r > 0xffff:
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	return escaped
}

// isEscaped reports whether a character is escaped: DEL and the control characters above ASCII, of which U+009B begins an
// escape sequence, line breaks of Unicode, and characters that [Line] removes. JSON itself escapes the control characters
// of ASCII.
func isEscaped(r rune) bool {
	return r >= 0x7f && r < 0xa0 || r == utf8.RuneError || isLineBreak(r) || isIgnorable(r)
}
