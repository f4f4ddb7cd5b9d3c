package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/child"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/publish"
)

// process is the part of the operating system process that a command may use.
type process struct {
	name           string      // by which the program was called; empty for "ci"
	program        string      // begins its commands in hints; see [hint.For]
	stdin          *os.File    // nil if there is none
	stdout, stderr io.Writer   // within a command, a [report.Output] each
	environ        environment // without secrets
	secrets        secrets
	now            func() time.Time // the clock; nil for the system clock
}

// clock returns the clock of a run.
func (p process) clock() func() time.Time {
	if p.now == nil {
		return time.Now
	}
	return p.now
}

// environment is a list of "NAME=value".
type environment []string

func (e environment) get(name string) string {
	value, _ := child.Lookup(e, name)
	return value
}

// defaultSecret is the variable of the default project. It may hold an auth token or a signing key.
var defaultSecret = defaultProject.SecretEnv

// The variables of Cachix's own client.
const (
	tokenVariable = "CACHIX_AUTH_TOKEN"
	keyVariable   = "CACHIX_SIGNING_KEY"
)

// secrets has the values of the variables with credentials. It never prints them.
type secrets map[string]string

// extractSecrets returns the environment without secrets, and the secrets. It removes them from the process before that
// starts a child process or a library that could pass them on.
func extractSecrets() (environment, secrets) {
	s := secrets{}
	for _, name := range []string{defaultSecret, tokenVariable, keyVariable} {
		s[name] = extractVariable(name)
	}
	return os.Environ(), s
}

// extractVariable returns a variable, and removes it from the process's environment: for child processes, and in
// /proc/PID/environ if the kernel has that.
func extractVariable(name string) string {
	value := os.Getenv(name)
	os.Unsetenv(name)
	if value != "" {
		_ = eraseEnviron(name) // it fails without /proc, which nothing can read then
	}
	return value
}

// extract removes one more variable, which the command line names, from the process and its environment.
func (s secrets) extract(name string, environ environment) environment {
	if s == nil || name == "" {
		return environ
	}
	if _, extracted := s[name]; !extracted {
		s[name] = environ.get(name)
		extractVariable(name)
	}
	return slices.DeleteFunc(slices.Clone(environ), func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
}

// credential returns the credentials of a variable, joined with those of the variables of Cachix's own client. It is
// empty if none of them is set.
func (s secrets) credential(name string) (cachix.Credential, error) {
	var all cachix.Credential
	for _, variable := range []string{name, tokenVariable, keyVariable} {
		c, err := cachix.ParseCredential(s[variable])
		if err != nil {
			return cachix.Credential{}, hint.Wrap(err, "look at the variable %s: it holds an auth token of Cachix, or a signing key as cachix generate-keypair makes it", variable)
		}
		all = all.Join(c)
	}
	return all, nil
}

// credential returns the credentials for a cache. If none is set and they are required, it returns an error.
func (process process) credential(o publishOptions, cache string, required bool) (cachix.Credential, error) {
	c, err := process.secrets.credential(o.secret)
	if err == nil && c.IsZero() && required {
		err = hint.Wrap(errNoSecret(o.secret), "set %s to an auth token of Cachix, or to the cache's signing key", cmp.Or(o.secret, tokenVariable))
	}
	if err != nil {
		return c, &publish.Error{Cache: cache, Err: err}
	}
	return c, nil
}

// texts returns the secrets, so that a log can mask them.
func (s secrets) texts() []string {
	var all []string
	for _, value := range s {
		if value = strings.TrimSpace(value); value != "" {
			all = append(all, value)
		}
	}
	return all
}

func (s secrets) String() string   { return cachix.Hidden }
func (s secrets) GoString() string { return cachix.Hidden }

// hideMemory prevents other processes of the same user from reading the memory, environment and open files of this
// process, and prevents core dumps: see PR_SET_DUMPABLE(2const). Call it before a secret is read. Root can still read
// them. The kernel resets the flag at execve(2); child processes get no secret.
func hideMemory() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // it fails only for invalid values
}

// eraseEnviron overwrites a variable's value in the memory that /proc/PID/environ shows: the block beside the stack that
// the kernel filled at the start of the process. os.Unsetenv does not change it. After [hideMemory], /proc/self/mem belongs
// to root, so it is written by process_vm_writev(2). The parent's environment is unchanged.
func eraseEnviron(name string) error {
	start, end, err := environBlock()
	if err != nil {
		return err
	}
	block := make([]byte, end-start)
	if err := copyMemory(unix.ProcessVMReadv, block, start); err != nil {
		return err
	}
	offset := start
	for variable := range bytes.SplitSeq(block, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(name+"=")); ok {
			at := offset + int64(len(variable)-len(value))
			if err := copyMemory(unix.ProcessVMWritev, make([]byte, len(value)), at); err != nil {
				return err
			}
		}
		offset += int64(len(variable)) + 1
	}
	return nil
}

// copyMemory copies between a buffer and an address of this process.
func copyMemory(copy func(pid int, local []unix.Iovec, remote []unix.RemoteIovec, flags uint) (int, error), buffer []byte, at int64) error {
	if len(buffer) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &buffer[0]}}
	local[0].SetLen(len(buffer))
	n, err := copy(os.Getpid(), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(buffer)}}, 0)
	if err == nil && n != len(buffer) {
		err = fmt.Errorf("copied %d bytes of %d", n, len(buffer))
	}
	return err
}

// environBlock returns the addresses of the process's first environment: fields 50 and 51 of proc_pid_stat(5).
func environBlock() (start, end int64, err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // after the second field, which can have spaces
	fields := append(make([]string, 3), strings.Fields(rest)...)
	if len(fields) <= 51 {
		return 0, 0, errors.New("no fields 50 and 51 in /proc/self/stat")
	}
	start, err = strconv.ParseInt(fields[50], 10, 64)
	if err == nil {
		end, err = strconv.ParseInt(fields[51], 10, 64)
	}
	return start, end, err
}
