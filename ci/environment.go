package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// defaultSecret is the variable of the default project. It may hold an auth token or a signing key.
var defaultSecret = defaultProject.SecretEnv

// The variables of Cachix's own client.
const (
	tokenVariable = "CACHIX_AUTH_TOKEN"
	keyVariable   = "CACHIX_SIGNING_KEY"
)

// secrets has the values of the variables with credentials. It never prints them.
type secrets struct {
	values map[string]string
}

// extractSecrets returns the environment without secrets, and the secrets. It removes them from the process before that
// starts a child process or a library that could pass them on.
func extractSecrets() ([]string, *secrets) {
	s := &secrets{values: map[string]string{}}
	for _, name := range []string{defaultSecret, tokenVariable, keyVariable} {
		s.values[name] = extractVariable(name)
	}
	return os.Environ(), s
}

// extractVariable returns a variable, and removes it from the process's environment: for child processes, and in
// /proc/PID/environ if the kernel has that.
func extractVariable(name string) string {
	value := os.Getenv(name)
	os.Unsetenv(name)
	if value != "" {
		_ = eraseEnviron(name) // without /proc nothing can read it either
	}
	return value
}

// extract removes one more variable, which the command line names, from the process and its environment.
func (s *secrets) extract(name string, environ []string) []string {
	if s == nil {
		return environ
	}
	if _, taken := s.values[name]; !taken {
		s.values[name] = environment(environ).get(name)
		extractVariable(name)
	}
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

// credential returns the credentials of a variable, joined with those of the variables of Cachix's own client. It is
// empty if none of them is set.
func (s *secrets) credential(name string) (cachix.Credential, error) {
	var all cachix.Credential
	if s == nil {
		return all, nil
	}
	for _, variable := range []string{name, tokenVariable, keyVariable} {
		c, err := cachix.ParseCredential(s.values[variable])
		if err != nil {
			return cachix.Credential{}, hint.Wrap(err, "look at the variable %s: it holds an auth token of Cachix, or a signing key as cachix generate-keypair makes it", variable)
		}
		all = all.Join(c)
	}
	return all, nil
}

// texts returns the secrets, so that a log can mask them.
func (s *secrets) texts() []string {
	var all []string
	if s == nil {
		return nil
	}
	for _, value := range s.values {
		if value = strings.TrimSpace(value); value != "" {
			all = append(all, value)
		}
	}
	return all
}

func (s *secrets) String() string   { return cachix.Hidden }
func (s *secrets) GoString() string { return cachix.Hidden }

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

// process is the part of the operating system process that a run may use.
type process struct {
	stdout, stderr io.Writer // within a command, a [report.Output] each
	environ        []string  // without secrets
	secrets        *secrets
	now            func() time.Time // the clock; nil for the system clock
}

// clock returns the clock of a run.
func (sys process) clock() func() time.Time {
	if sys.now == nil {
		return time.Now
	}
	return sys.now
}
