package main

import (
	"os"
	"slices"
	"strings"
)

// secretNames are the variables that hold the right to push.
var secretNames = []string{"SCOPE_CREEP_CACHIX_PRIVATE_KEY", "CACHIX_AUTH_TOKEN", "CACHIX_SIGNING_KEY"}

// takeEnvironment returns the environment without secrets, and takes them out of the process,
// before it starts a child or a library that would pass them on.
// Pushing is not part of this program yet, so that nothing keeps them.
func takeEnvironment() []string {
	for _, name := range secretNames {
		os.Unsetenv(name)
	}
	return os.Environ()
}

// environment looks up variables in a list of "NAME=value". The last one of a name counts.
type environment []string

func (e environment) get(name string) string {
	for _, kv := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}
