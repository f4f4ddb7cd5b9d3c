package dagger

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dagger.io/dagger"
	"dagger.io/dagger/engineconn"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// fakeEngine answers the queries of a session.
type fakeEngine struct {
	server *httptest.Server
	// silentTo is a word of the queries that are never answered; the empty word is for all.
	silentTo atomic.Pointer[string]
	pings    atomic.Int32
}

func newFakeEngine(t *testing.T) *fakeEngine {
	e := &fakeEngine{}
	e.server = httptest.NewServer(e)
	t.Cleanup(func() {
		e.server.CloseClientConnections()
		e.server.Close()
	})
	return e
}

// ignore leaves later queries with this word unanswered.
func (e *fakeEngine) ignore(word string) { e.silentTo.Store(&word) }

func (e *fakeEngine) port() int { return e.server.Listener.Addr().(*net.TCPAddr).Port }

// env returns the environment of a program that "dagger run" has started.
func (e *fakeEngine) env() []string {
	return []string{portVariable + "=" + strconv.Itoa(e.port()), tokenVariable + "=t"}
}

var (
	quoted    = regexp.MustCompile(`"(\\.|[^"\\])*"`)
	arguments = regexp.MustCompile(`\([^()]*\)`)
)

func (e *fakeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Query string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if strings.Contains(request.Query, "__typename") {
		e.pings.Add(1)
	}
	if word := e.silentTo.Load(); word != nil && strings.Contains(request.Query, *word) {
		<-r.Context().Done()
		return
	}
	// Without arguments, a query is "query Query {a{b{c}}}": a chain of fields, of which it asks for the last one.
	text := quoted.ReplaceAllString(request.Query[strings.Index(request.Query, "{"):], "")
	for arguments.MatchString(text) {
		text = arguments.ReplaceAllString(text, "")
	}
	fields := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune("{} \n", r) })
	values := map[string]any{"version": engineVersion, "defaultPlatform": "linux/amd64", "glob": []string{"a file"}}
	value, ok := values[fields[len(fields)-1]]
	if !ok {
		value = "id"
	}
	data := value
	for i := len(fields) - 1; i >= 0; i-- {
		data = map[string]any{fields[i]: data}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
}

// fakeClient is a Dagger client that serves the port and never ends by itself. It returns the client's path and a
// function that waits for the client's end.
func fakeClient(t *testing.T, port int) (path string, ended func() bool) {
	dir := t.TempDir()
	pidfile := filepath.Join(dir, "pid")
	path = filepath.Join(dir, "dagger")
	script := fmt.Sprintf("#!/bin/sh\ntrap '' INT TERM\necho $$ >%s\n"+`echo '{"port":%d,"session_token":"t"}'`+"\nwhile :; do sleep 1; done\n", pidfile, port)
	syscall.ForkLock.RLock() // a child of another test would have the file open for writing: "text file busy"
	err := os.WriteFile(path, []byte(script), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return path, func() bool {
		text, err := os.ReadFile(pidfile)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if syscall.Kill(pid, 0) != nil {
				return true
			}
			time.Sleep(100 * time.Millisecond)
		}
		_ = syscall.Kill(-pid, syscall.SIGKILL)
		return false
	}
}

// socket returns an address with a listener.
func socket(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "engine.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "unix://" + path
}

// fakeExecutor returns an executor with a fake engine, whose containers are processes of this machine.
func fakeExecutor(t *testing.T, e *fakeEngine, l limits) *Executor {
	t.Helper()
	x := local(t)
	x.options.System = matrix.X8664Linux
	x.options.limits = l
	x.options.Notice = func(string) {}
	x.session = joinSession(*mustSession(t, e), l)
	t.Cleanup(func() { _ = x.session.Close() })
	client, err := dagger.Connect(t.Context(), dagger.WithConn(x.session))
	if err != nil {
		t.Fatal(err)
	}
	x.client = client
	x.rootfs, x.container = client.Container(), client.Container()
	x.added = map[string]*dagger.Directory{}
	x.session.watch(func(string) {})
	return x
}

func mustSession(t *testing.T, e *fakeEngine) *engineconn.ConnectParams {
	t.Helper()
	target, err := find(t.Context(), e.env(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	return target.session
}
