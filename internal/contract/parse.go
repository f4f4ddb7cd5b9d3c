package contract

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

//go:embed open-sesame.toml
var openSesame []byte

// OpenSesame returns the contract of Open Sesame, which the example flake satisfies too.
func OpenSesame() *Contract {
	c, err := Parse("open-sesame.toml", openSesame)
	if err != nil {
		panic(err) // it is embedded
	}
	return c
}

// maxFile is the maximum size of a file that is read: nixpkgs has one of 20 MiB.
const maxFile = 64 << 20

// Load reads a contract from a file.
func Load(file string) (*Contract, error) {
	data, err := regular.Read(file, maxFile)
	if err != nil {
		return nil, fmt.Errorf("read contract %s: %w", file, cause(err))
	}
	return Parse(file, data)
}

// cause returns an error without its operation and path, for a message that names both.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Parse parses a contract. An unknown key is an error: a misspelt key would check nothing.
func Parse(file string, data []byte) (*Contract, error) {
	c := &Contract{File: file}
	meta, err := toml.Decode(string(data), c)
	if err != nil {
		return nil, parseError(file, data, meta, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("parse contract %s:%s: unknown key %s", file, place(data, unknown[0]), unknown[0])
	}
	for _, p := range c.evaluatedPackages() {
		if _, err := matrix.ParsePackage(string(p)); err != nil {
			return nil, fmt.Errorf("parse contract %s: %w", file, err)
		}
	}
	return c, nil
}

// wrongType matches the decoder's message about a wrong type: the key, the type found and the type wanted.
var wrongType = regexp.MustCompile(`\(last key ("(?:[^"\\]|\\.)*")\): (?:incompatible types: TOML value has type (\S+); destination has type (.+)|type mismatch for \S+: expected (table) but found (\S+))$`)

// parseError adds its position to an error of the decoder, in the form that editors jump to.
func parseError(file string, data []byte, meta toml.MetaData, err error) error {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		line, column := lineColumn(data, parse.Position.Start)
		return fmt.Errorf("parse contract %s:%d:%d: %s", file, line, column, parse.Message)
	}
	m := wrongType.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Errorf("parse contract %s: %v", file, err)
	}
	found, wanted := m[2]+m[5], m[3]+m[4]
	name, _ := strconv.Unquote(m[1]) // it is a quoted string, by the regular expression
	for _, key := range meta.Keys() {
		if key.String() == name {
			return fmt.Errorf("parse contract %s:%s: %s: want %s, not %s", file, place(data, key), key, typeName(wanted), typeName(found))
		}
	}
	return fmt.Errorf("parse contract %s: %s: want %s, not %s", file, name, typeName(wanted), typeName(found))
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

// lineColumn returns the position of an offset. The decoder's own is wrong at the beginning of a line.
func lineColumn(data []byte, offset int) (line, column int) {
	before := data[:min(offset, len(data))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// Values are a string, a number, a boolean or a list of such.
type Values []string

// UnmarshalTOML reads a single value as a list of one.
func (v *Values) UnmarshalTOML(data any) error {
	list, ok := data.([]any)
	if !ok {
		list = []any{data}
	}
	for _, e := range list {
		switch e := e.(type) {
		case string, int64, bool:
			*v = append(*v, fmt.Sprint(e))
		default:
			return errors.New("want a string, an integer, a boolean or a list of such")
		}
	}
	return nil
}
