// Package child has what the packages that start other programs share: a child's environment, and the end of its output.
package child

import (
	"slices"
	"strings"
	"sync"
)

// Proxies are the variables that name the proxies of a network. Some programs read the upper-case names.
var Proxies = []string{
	"http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
}

// Select returns the variables of an environment ("NAME=value") that have one of the names, in their order.
func Select(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(names, name)
	})
}

// Lookup returns the value of a variable and reports whether it is set. If there are several of the name, it returns the
// last one, as a child process sees it.
func Lookup(env []string, name string) (value string, ok bool) {
	for _, variable := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Tail keeps the last bytes that are written to it. It is for the error output of a child.
type Tail struct {
	Limit int

	mu   sync.Mutex
	kept []byte
}

// Write implements [io.Writer]. It returns no error.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.Limit; over > t.Limit {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

// String returns at most the last Limit bytes.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept[max(0, len(t.kept)-t.Limit):])
}
