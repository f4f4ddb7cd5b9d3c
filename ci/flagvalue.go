package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// value is a flag whose text is parsed as soon as it is given. It implements [pflag.Value].
type value[T any] struct {
	to       *T
	parse    func(string) (T, error)
	text     string // as given, or the default
	optional bool   // an empty text is ignored, such as an empty input of a workflow
}

// valueOf returns a flag for a variable. Without a default the variable stays as it is, and the flag is optional.
func valueOf[T any](to *T, preset string, parse func(string) (T, error)) *value[T] {
	v := &value[T]{to: to, parse: parse, optional: preset == ""}
	if err := v.Set(preset); err != nil {
		panic(err)
	}
	return v
}

func (v *value[T]) Set(text string) error {
	if text == "" && v.optional {
		return nil
	}
	parsed, err := v.parse(text)
	if err == nil {
		*v.to, v.text = parsed, text
	}
	return err
}

func (v *value[T]) String() string { return v.text }

// Type is the name that help shows.
func (v *value[T]) Type() string {
	switch any(v.to).(type) {
	case *time.Duration:
		return "duration"
	case *int:
		return "int"
	}
	return "string"
}

// list is a repeatable flag. The first value replaces what the variable had before. It implements [pflag.Value].
type list[T any] struct {
	to    *[]T
	parse func(string) (T, error)
	texts []string // as given
}

func listOf[T any](to *[]T, parse func(string) (T, error)) *list[T] {
	return &list[T]{to: to, parse: parse}
}

func (l *list[T]) Set(text string) error {
	parsed, err := l.parse(text)
	if err != nil {
		return err
	}
	if l.texts == nil {
		*l.to = nil
	}
	*l.to, l.texts = append(*l.to, parsed), append(l.texts, text)
	return nil
}

func (l *list[T]) String() string     { return strings.Join(l.texts, " ") }
func (l *list[T]) Type() string       { return "stringArray" }
func (l *list[T]) GetSlice() []string { return l.texts }

// oneOf returns a parser that accepts one of a few words.
func oneOf[T ~string](words ...T) func(string) (T, error) {
	return func(text string) (T, error) {
		if !slices.Contains(words, T(text)) {
			return "", fmt.Errorf("want one of %s", strings.ReplaceAll(strings.Trim(fmt.Sprint(words), "[]"), " ", ", "))
		}
		return T(text), nil
	}
}

// parseCount parses a number that is not negative.
func parseCount(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, errors.New("want a number, 0 or more")
	}
	return n, nil
}

// parseLimit parses a length of time. A negative one would mean no limit at all.
func parseLimit(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = errors.New("a negative duration")
	}
	return d, err
}

// limitVar defines a flag for a length of time.
func limitVar(s *pflag.FlagSet, to *time.Duration, name string, preset time.Duration, usage string) {
	text := "0" // which help leaves out as a default
	if preset != 0 {
		text = preset.String()
	}
	s.Var(valueOf(to, text, parseLimit), name, usage)
}

// invalidFlag returns the error of a command line whose flags cannot be read. It removes credentials from URLs.
func invalidFlag(c *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return usage(fmt.Errorf("parse --%s %q: %w", invalid.GetFlag().Name, nix.Redact(invalid.GetValue()), invalid.Unwrap()))
	}
	err = fmt.Errorf("%s: %w", c.CommandPath(), err)
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		if near := hint.Nearest(unknown.GetSpecifiedName(), flagNames(c), 1); len(near) > 0 {
			err = fmt.Errorf("%w: did you mean --%s?", err, near[0])
		}
	}
	return usage(err)
}

// flagNames returns the flags of a command that help lists.
func flagNames(c *cobra.Command) (names []string) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// givenFlag is a flag as it was given, once for each of its values.
type givenFlag struct{ name, value string }

// given returns the flags that were given, for hints to repeat. A value that was given twice is there once.
func given(s *pflag.FlagSet) []givenFlag {
	var all []givenFlag
	s.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if several, ok := f.Value.(interface{ GetSlice() []string }); ok {
			values = several.GetSlice()
		}
		for _, v := range values {
			if f.Name != "builders" { // whose users are no secret, and are needed
				v = nix.Redact(v)
			}
			if flag := (givenFlag{f.Name, v}); !slices.Contains(all, flag) {
				all = append(all, flag)
			}
		}
	})
	return all
}
