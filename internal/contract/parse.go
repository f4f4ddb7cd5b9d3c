package contract

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/tomlfile"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

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
	if _, err := tomlfile.Decode("contract", file, data, c); err != nil {
		return nil, err
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("parse contract %s: %w", file, err)
	}
	return c, nil
}

// Check checks the values of a contract that was decoded.
func (c *Contract) Check() error {
	for _, p := range c.evaluatedPackages() {
		if _, err := matrix.ParsePackage(string(p)); err != nil {
			return err
		}
	}
	return nil
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
