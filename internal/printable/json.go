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

// EscapeJSON escapes in JSON what JSON need not escape, but a terminal, a reader or GitHub's runner would act upon. The
// values stay the same.
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

// isEscaped tells the characters that are not shown: DEL and the controls above ASCII, of which U+009B begins an escape
// sequence, line breaks of Unicode, and what [Line] takes out. JSON itself escapes the controls of ASCII.
func isEscaped(r rune) bool {
	return r >= 0x7f && r < 0xa0 || r == utf8.RuneError || isLineBreak(r) || isIgnorable(r)
}
