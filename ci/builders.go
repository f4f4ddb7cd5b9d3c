package main

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// jobs is the value of --jobs: how many derivations Nix builds at a time on the engine's own machine. It is a number, or
// empty for one a processor.
type jobs string

const jobsUsage = "how many derivations Nix builds at a time on this machine; 0 builds only on --builders (default: one for each processor)"

// buildersAlone keeps the engine's own machine from building.
const buildersAlone jobs = "0"

func (j *jobs) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return errors.New("not a number of builds")
	}
	*j = jobs(strconv.Itoa(n))
	return nil
}

func (j *jobs) String() string { return string(*j) }

// Type is the name that help shows.
func (j *jobs) Type() string { return "int" }

var _ pflag.Value = new(jobs)

// setting is the value of Nix's max-jobs.
func (j jobs) setting() string { return cmp.Or(string(j), "auto") }

// parseBuilders reads --builders, and refuses a --jobs that leaves no machine to build.
func parseBuilders(text string, j jobs) ([]nix.Builder, error) {
	all, err := nix.ParseBuilders(text)
	if err != nil {
		return nil, hint.Wrap(fmt.Errorf("parse --builders: %w", err), "for example --builders 'ssh-ng://arm.example aarch64-linux'")
	}
	if j == buildersAlone && len(all) == 0 {
		return nil, hint.Wrap(errors.New("parse --jobs 0: it builds on remote builders alone, and there are none"),
			"name them: --builders 'ssh-ng://arm.example aarch64-linux'; or give --jobs 1 or more")
	}
	return all, nil
}
