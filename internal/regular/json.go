package regular

import (
	"encoding/json"
	"fmt"
)

// maxValues is how many values are taken from one JSON text. A value of two bytes can take several hundred in memory, so
// a bound on the bytes of the text bounds too little. A manifest has about forty for each package of each system.
const maxValues = 1 << 18

// UnmarshalJSON parses JSON that anyone may have written, if it has no more values than fit well into memory.
func UnmarshalJSON(data []byte, v any) error {
	if err := CheckJSON(data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// CheckJSON says whether JSON has no more values than UnmarshalJSON takes, for what another parser is to read.
func CheckJSON(data []byte) error {
	if countValues(data) > maxValues {
		return fmt.Errorf("more than %d values", maxValues)
	}
	return nil
}

// countValues counts what may begin a value in an array or an object. Of a text that is not JSON it counts anything.
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
