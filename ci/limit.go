package main

import (
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// limit is the value of a flag for a length of time. A negative one would mean no limit at all.
type limit time.Duration

func (l *limit) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil {
		return err
	}
	if d < 0 {
		return errors.New("a negative duration")
	}
	*l = limit(d)
	return nil
}

// String returns "0" for none, which help leaves out as a default.
func (l *limit) String() string {
	if *l == 0 {
		return "0"
	}
	return time.Duration(*l).String()
}

func (l *limit) Type() string { return "duration" }

// limitVar defines a flag for a length of time.
func limitVar(s *pflag.FlagSet, to *time.Duration, name string, value time.Duration, usage string) {
	*to = value
	s.Var((*limit)(to), name, usage)
}
