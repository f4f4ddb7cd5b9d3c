package regular

import (
	"encoding/json"
	"fmt"
)

// maxValues is the maximum number of values in a JSON text. A value of two bytes can take several hundred bytes of memory,
// so a limit on the bytes of the text is not enough. A manifest has about forty values for each package of each system.
const maxValues = 1 << 18

// UnmarshalJSON parses untrusted JSON, with a limit on the number of values.
func UnmarshalJSON(data []byte, v any) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// CheckJSON returns an error if JSON for another parser has more values than the limit of [UnmarshalJSON].
func CheckJSON(data []byte) error {
	if countValues(data) > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	return nil
}

// countValues counts the characters that precede a value in an array or an object. The text need not be valid JSON.
func countValues(data []byte) int {
	n, inString := 1, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == ',' || c == '[' || c == '{'):
			n++
		}
	}
	return n
}
