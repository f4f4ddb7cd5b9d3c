package nix

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// Builder is one remote builder, as Nix's setting "builders" describes it:
// https://nix.dev/manual/nix/latest/command-ref/conf-file#conf-builders.
type Builder struct {
	// URI is its store, in the form in which Nix names it in its log.
	URI string
	// Systems are those that it builds for; empty for the system of its client.
	Systems []string
	// Jobs is how many builds it runs at a time.
	Jobs int

	fields []string
}

// The columns of a builder's line that are read here.
const (
	builderSystems = 1
	builderJobs    = 3
	builderColumns = 8
)

// ParseBuilders reads a value of the setting "builders". It reads the files that the value names with "@".
// As in Nix, one that does not exist is empty.
func ParseBuilders(text string) ([]Builder, error) {
	return parseBuilders(text, nil)
}

func parseBuilders(text string, within []string) ([]Builder, error) {
	var all []Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for entry := range strings.SplitSeq(line, ";") {
			entry = strings.TrimSpace(entry)
			if entry == "" {
				continue
			}
			more, err := parseBuilderEntry(entry, within)
			if err != nil {
				return nil, err
			}
			all = append(all, more...)
		}
	}
	return all, nil
}

// maxBuilders is the maximum size of a file of builders, which has a line for each.
const maxBuilders = 1 << 20

func parseBuilderEntry(entry string, within []string) ([]Builder, error) {
	name, isFile := strings.CutPrefix(entry, "@")
	if !isFile {
		b, err := parseBuilder(entry)
		return []Builder{b}, err
	}
	name = strings.TrimSpace(name)
	if slices.Contains(within, name) {
		return nil, fmt.Errorf("read builders: %s includes itself", name)
	}
	data, err := regular.Read(name, maxBuilders)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("read builders: %v", err)
	}
	return parseBuilders(string(data), append(within, name))
}

func parseBuilder(line string) (Builder, error) {
	b := Builder{fields: strings.Fields(line), Jobs: 1}
	if len(b.fields) > builderColumns {
		return b, fmt.Errorf("parse builder %q: more than %d columns", line, builderColumns)
	}
	field := func(i int) string {
		if i < len(b.fields) && b.fields[i] != "-" {
			return b.fields[i]
		}
		return ""
	}
	b.URI = field(0)
	if b.URI == "" {
		return b, fmt.Errorf("parse builder %q: the first column is not a store", line)
	}
	if !strings.Contains(b.URI, "/") && !isLocalStore(b.URI) {
		b.URI = "ssh://" + b.URI
	}
	if systems := field(builderSystems); systems != "" {
		b.Systems = strings.Split(systems, ",")
	}
	if jobs := field(builderJobs); jobs != "" {
		var err error
		if b.Jobs, err = strconv.Atoi(jobs); err != nil || b.Jobs < 0 {
			return b, fmt.Errorf("parse builder %q: column %d is not a number of builds", line, builderJobs+1)
		}
	}
	return b, nil
}

// isLocalStore reports whether a word names a store of this machine and not another machine, as in Nix.
func isLocalStore(uri string) bool {
	word, _, _ := strings.Cut(uri, "?")
	return word == "" || word == "auto" || word == "daemon" || word == "local"
}

// Builds reports whether the builder builds for a system; native is that of its client.
func (b Builder) Builds(system, native string) bool {
	if len(b.Systems) == 0 {
		return system == native
	}
	return slices.Contains(b.Systems, system)
}

// WithJobs returns the same builder with another number of builds at a time.
func (b Builder) WithJobs(n int) Builder {
	fields := slices.Clone(b.fields)
	for len(fields) <= builderJobs {
		fields = append(fields, "-")
	}
	fields[builderJobs] = strconv.Itoa(n)
	b.fields, b.Jobs = fields, n
	return b
}

// FormatBuilders returns the value of the setting on one line, for an environment variable.
func FormatBuilders(all []Builder) string {
	lines := make([]string, len(all))
	for i, b := range all {
		lines[i] = strings.Join(b.fields, " ")
	}
	return strings.Join(lines, " ; ")
}
