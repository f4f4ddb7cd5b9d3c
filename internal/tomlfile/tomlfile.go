// Package tomlfile decodes TOML files strictly. Its errors have the file, the line and the column.
package tomlfile

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// File is a file that was decoded.
type File struct {
	kind, name string
	data       []byte
	keys       []toml.Key
}

// SyntaxError is the error of a file that is not TOML.
type SyntaxError struct {
	Line, Column int
	message      string
}

func (e *SyntaxError) Error() string { return e.message }

// Unmarshal decodes a file of another program, which may have further keys.
func Unmarshal(name string, data []byte, into any) error {
	if _, err := toml.Decode(string(data), into); err != nil {
		return (&File{name: name, data: data}).parseError(err)
	}
	return nil
}

// Decode decodes a file into a struct. Kind is what the file is, for errors. An unknown key is an error: a misspelt key
// would have no effect. A key in another case is unknown.
func Decode(kind, name string, data []byte, into any) (*File, error) {
	meta, err := toml.Decode(string(data), into)
	f := &File{kind, name, data, meta.Keys()}
	if err != nil {
		return nil, f.parseError(err)
	}
	var tree map[string]any
	if _, err := toml.Decode(string(data), &tree); err != nil {
		return nil, f.parseError(err)
	}
	if key := notTable(reflect.TypeOf(into), tree, nil); key != nil {
		return nil, f.Errorf(key, "%s: want a table", key)
	}
	for _, key := range f.keys {
		if err := f.checkKey(reflect.TypeOf(into), key); err != nil {
			return nil, err
		}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, f.Errorf(unknown[0], "unknown key %s", unknown[0])
	}
	return f, nil
}

// checkKey returns an error if a key, or a table that it is in, has no field of exactly that name. The decoder takes names
// in any case, but whoever reads the keys of a file compares them.
func (f *File) checkKey(t reflect.Type, key toml.Key) error {
	for i, name := range key {
		known := keysOf(t, key[:i])
		if len(known) == 0 || slices.Contains(known, name) {
			continue
		}
		err := f.Errorf(key[:i+1], "unknown key %s", key[:i+1])
		if near := hint.Nearest(strings.ToLower(name), known, 1); len(near) > 0 {
			err = hint.Wrap(err, "did you mean %s?", near[0])
		}
		return err
	}
	return nil
}

// Keys returns the names of the keys and tables at the top of the file, in its order.
func (f *File) Keys() []string {
	var names []string
	for _, key := range f.keys {
		if !slices.Contains(names, key[0]) {
			names = append(names, key[0])
		}
	}
	return names
}

// Line returns the file and the line of a key at the top of the file, in the form FILE:LINE.
func (f *File) Line(key string) string {
	line, _ := position(f.data, toml.Key{key})
	return fmt.Sprintf("%s:%d", f.name, line)
}

// Errorf returns an error about the value of a key, with its position, in the form that editors jump to.
func (f *File) Errorf(key []string, format string, args ...any) error {
	line, column := position(f.data, key)
	return fmt.Errorf("parse %s %s:%d:%d: %w", f.kind, f.name, line, column, fmt.Errorf(format, args...))
}

var (
	// wrongType matches the decoder's message about a wrong type: the key, the type found and the type wanted.
	wrongType = regexp.MustCompile(`\(last key ("(?:[^"\\]|\\.)*")\): (?:incompatible types: TOML value has type (\S+); destination has type (.+)|type mismatch for \S+: expected (table) but found (\S+))$`)
	// lastKey matches the key in every other message about a value.
	lastKey = regexp.MustCompile(`\(last key ("(?:[^"\\]|\\.)*")\): `)
)

// parseError adds its position to an error of the decoder.
func (f *File) parseError(err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		line, column := lineColumn(f.data, parse.Position.Start)
		return &SyntaxError{line, column, fmt.Sprintf("parse %s:%d:%d: %s", strings.TrimSpace(f.kind+" "+f.name), line, column, parse.Message)}
	}
	message := err.Error()
	var name string
	if m := wrongType.FindStringSubmatch(message); m != nil {
		name, _ = strconv.Unquote(m[1]) // it is a quoted string, by the regular expression
		message = fmt.Sprintf("%s: want %s, not %s", name, typeName(m[3]+m[4]), typeName(m[2]+m[5]))
	} else if m := lastKey.FindStringSubmatchIndex(message); m != nil {
		name, _ = strconv.Unquote(message[m[2]:m[3]])
		message = name + ": " + message[m[1]:]
	}
	for _, key := range f.keys {
		if key.String() == name {
			return f.Errorf(key, "%s", message)
		}
	}
	return fmt.Errorf("parse %s %s: %s", f.kind, f.name, message)
}

// notTable returns a key that has another value where a map wants a table; nil where there is none. The decoder ignores such
// a value.
func notTable(t reflect.Type, value any, key toml.Key) toml.Key {
	if t.Kind() == reflect.Pointer {
		return notTable(t.Elem(), value, key)
	}
	table, isTable := value.(map[string]any)
	inner := map[string]reflect.Type{}
	switch {
	case t.Kind() == reflect.Map && !isTable:
		return key
	case t.Kind() == reflect.Map:
		for name := range table {
			inner[name] = t.Elem()
		}
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("toml"), ",")
			inner[name] = f.Type
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if of, ok := inner[name]; ok {
			if found := notTable(of, table[name], append(slices.Clip(key), name)); found != nil {
				return found
			}
		}
	}
	return nil
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

// KeysOf returns the keys that a struct is decoded from.
func KeysOf(value any) []string { return keysOf(reflect.TypeOf(value), nil) }

// keysOf returns the keys that a table may have, by the type that it is decoded into. The table is a path below that
// type. It is empty where a table may have any key.
func keysOf(t reflect.Type, table []string) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Map && len(table) > 0:
		return keysOf(t.Elem(), table[1:])
	case t.Kind() != reflect.Struct:
		return nil
	}
	var keys []string
	for _, field := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(field.Tag.Get("toml"), ",")
		if len(table) > 0 && key == table[0] {
			return keysOf(field.Type, table[1:])
		}
		if key != "" && key != "-" {
			keys = append(keys, key)
		}
	}
	if len(table) > 0 {
		return nil
	}
	return keys
}

// position returns the line and column of a key, both from 1. The decoder gives a position only with an error of syntax,
// so the text is searched: a header names the table of the keys below it.
func position(data []byte, key toml.Key) (line, column int) {
	table, last := "", key[len(key)-1]
	line, column = 1, 1
	found := false
	for i, text := range strings.Split(string(data), "\n") {
		name, _, _ := strings.Cut(strings.TrimSpace(text), "=")
		name = strings.TrimSpace(name)
		if strings.HasPrefix(name, "[") {
			table = strings.Trim(name, "[] ")
			name = table
		} else {
			name = strings.TrimPrefix(table+"."+name, ".")
		}
		if name == key.String() || strings.HasPrefix(name, key.String()+".") {
			return i + 1, strings.Index(text, last) + 1
		}
		if !found && strings.Contains(text, last) { // the key may be in an inline table, or written in another way
			found, line, column = true, i+1, strings.Index(text, last)+1
		}
	}
	return line, column
}

// lineColumn returns the line and the column of an offset, both from 1. The decoder's own is wrong at the beginning of a line.
func lineColumn(data []byte, offset int) (line, column int) {
	before := data[:max(0, min(offset, len(data)))] // the decoder's is -1 for a control character in the first line
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
