// Package tomlfile decodes TOML files strictly. Its errors have the file, the line and the column.
package tomlfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Decode decodes a file into a struct. Kind is what the file is, for errors. An unknown key is an error: a misspelt key
// would have no effect.
func Decode(kind, file string, data []byte, into any) error {
	meta, err := toml.Decode(string(data), into)
	if err != nil {
		return parseError(kind+" "+file, data, meta, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("parse %s %s:%s: unknown key %s", kind, file, place(data, unknown[0]), unknown[0])
	}
	return nil
}

// wrongType matches the decoder's message about a wrong type: the key, the type found and the type wanted.
var wrongType = regexp.MustCompile(`\(last key ("(?:[^"\\]|\\.)*")\): (?:incompatible types: TOML value has type (\S+); destination has type (.+)|type mismatch for \S+: expected (table) but found (\S+))$`)

// parseError adds its position to an error of the decoder, in the form that editors jump to.
func parseError(file string, data []byte, meta toml.MetaData, err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		line, column := LineColumn(data, parse.Position.Start)
		return fmt.Errorf("parse %s:%d:%d: %s", file, line, column, parse.Message)
	}
	m := wrongType.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("parse %s: %v", file, err)
	}
	found, wanted := m[2]+m[5], m[3]+m[4]
	name, _ := strconv.Unquote(m[1]) // it is a quoted string, by the regular expression
	for _, key := range meta.Keys() {
		if key.String() == name {
			return fmt.Errorf("parse %s:%s: %s: want %s, not %s", file, place(data, key), key, typeName(wanted), typeName(found))
		}
	}
	return fmt.Errorf("parse %s: %s: want %s, not %s", file, name, typeName(wanted), typeName(found))
}

// typeName returns a plain name for a type of the decoder.
func typeName(t string) string {
	names := map[string]string{
		"slice": "a list", "[]interface": "a list", "[]any": "a list", "[]interface{}": "a list",
		"map": "a table", "table": "a table", "map[string]interface": "a table", "map[string]any": "a table",
		"string": "a string", "int64": "an integer", "integer": "an integer",
		"bool": "a boolean", "boolean": "a boolean", "float64": "a number with a fraction",
	}
	if name, ok := names[t]; ok {
		return name
	}
	return t
}

// place returns the line and column of a key. The decoder gives a position only with an error of syntax, so the text is
// searched: a header names the table of the keys below it.
func place(data []byte, key toml.Key) string {
	table, last := "", key[len(key)-1]
	found := "1:1"
	for i, line := range strings.Split(string(data), "\n") {
		name, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "[") {
			table = strings.Trim(name, "[] ")
			name = table
		} else {
			name = strings.TrimPrefix(table+"."+name, ".")
		}
		at := fmt.Sprintf("%d:%d", i+1, strings.Index(line, last)+1)
		if name == key.String() {
			return at
		}
		if found == "1:1" && strings.Contains(line, last) {
			found = at // the key may be in an inline table, or written in another way
		}
	}
	return found
}

// LineColumn returns the line and the column of an offset, both from 1. The decoder's own is wrong at the beginning of a line.
func LineColumn(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
