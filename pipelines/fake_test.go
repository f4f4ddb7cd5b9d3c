package pipelines

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run/runtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The packages of the fake flake. Each has one output, named after package and system.
var fakePackages = []matrix.Package{"desktop", "headless"}

const fakeDigest = "12jhkv0cgfm8d60n9vmx1q25cns906f"

func fakePath(system matrix.System, p matrix.Package, suffix string) nix.StorePath {
	digit := map[string]string{"x86_64-linux desktop": "0", "x86_64-linux headless": "1", "aarch64-linux desktop": "2", "aarch64-linux headless": "3"}
	return nix.StorePath(fmt.Sprintf("/nix/store/%s%s-%s%s", fakeDigest, digit[string(system)+" "+string(p)], p, suffix))
}

// fakeEngine is an engine without Nix, which answers the commands of a run. A test sets its fields before the run, to
// make commands fail.
type fakeEngine struct {
	system matrix.System
	engine engine.Engine
	// fails has Nix's error messages by package. Each build of the package uses one up.
	fails map[matrix.Package][]string
	// noSandbox makes builds in a sandbox fail.
	noSandbox bool
	memlock   uint64
	// writableInputs lets builders on this machine change their inputs. The store has other contents of those in
	// changed.
	writableInputs bool
	changed        []nix.StorePath
	// unprivileged makes the engine refuse the privileges that a sandbox needs.
	unprivileged bool
	// probeFails has Nix's messages about the next probes on this machine, one for each.
	probeFails []string
	// builders are the remote builders by URI. builtOn says where packages are built.
	builders map[string]*fakeBuilder
	builtOn  map[matrix.Package]string
	// dies makes the engine end during a build.
	dies bool
	// after is the error of all commands after the first realisation.
	after    error
	realised bool
	// hangs makes a build last until its context is done.
	hangs bool
	// differs names the packages whose second build has another result.
	differs map[matrix.Package]bool
	// cannotRebuild is Nix's error message about every second build.
	cannotRebuild string
	// onRealise is called for each realisation; check is true for a second build.
	onRealise func(check bool)
	// collects is how many times a garbage collector runs between an evaluation and Keep.
	collects int
	plan     string // appended to the output of a dry run
	// narHash is the hash of every output; the second fake engine of a system may have another.
	narHash string
	// throws has, by package, Nix's error that tryEval catches; aborts the error that it does not catch.
	throws, aborts map[matrix.Package]string
	// lacks names the packages that the flake does not have for this system; noFlake is Nix's message about the whole
	// flake.
	lacks   map[matrix.Package]bool
	noFlake string
	// systems are those that the flake lists packages for.
	systems []string
	// placeholder is the package whose output path is not known before the build, as for a content-addressed
	// derivation.
	placeholder matrix.Package
	// sameAsDefault is the package that the flake also has as default.
	sameAsDefault matrix.Package
	// refuses has, by package, the error message with which Nix stops instead of building it. It stops there first.
	refuses map[matrix.Package]string
	// needs has the further derivations that each package depends on.
	needs map[matrix.Package][]string
	// tool is a build input of headless without a reference from it; signed says that a cache has signed it.
	tool   nix.StorePath
	signed bool
	// fixed are fixed-output derivations.
	fixed []string
	// logs has further lines that Nix writes while it builds the package.
	logs map[matrix.Package]string
	// says is a line of a package's log; position is where all packages are defined.
	says     map[matrix.Package]string
	position string

	mu       sync.Mutex
	valid    map[nix.StorePath]bool
	commands []string // for messages of tests
	asked    []asked
	placed   []string
	kept     []nix.StorePath
	keepErr  error
	closed   int
	probes   [][]byte
	// The settings of the probes, of the last realisation and of the last second build.
	probeSettings                  []nix.Settings
	realiseSettings, checkSettings nix.Settings
}

const fakeHash = "sha256-LKC4zplvhl2zdhm/6RAjVZMFqtgVgEL8bdsO8dQ8W2c="

func newFakeEngine(system matrix.System) *fakeEngine {
	return &fakeEngine{
		system: system, narHash: fakeHash, memlock: 1 << 40, valid: map[nix.StorePath]bool{}, fails: map[matrix.Package][]string{},
		engine: engine.Engine{Kind: "fake", Nix: nix.Version{Major: 2, Minor: 8, Text: "2.8.0"}, Native: system, Cores: 2},
	}
}

func (f *fakeEngine) Describe(context.Context) (engine.Engine, error) { return f.engine, nil }

func (f *fakeEngine) AddPath(_ context.Context, dir string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.placed = append(f.placed, dir)
	return dir, nil
}

func (f *fakeEngine) Keep(ctx context.Context, paths []nix.StorePath) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keepErr != nil {
		return f.keepErr
	}
	f.kept = append(f.kept, paths...)
	return ctx.Err()
}

func (f *fakeEngine) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

func (f *fakeEngine) Run(ctx context.Context, c engine.Command) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	line, a := c.Program+" "+strings.Join(c.Args, " "), askedBy(c)
	f.mu.Lock()
	f.commands, f.asked = append(f.commands, line), append(f.asked, a)
	realised := f.realised
	f.realised = realised || a.operation == realise || a.operation == buildAgain
	f.mu.Unlock()
	if realised && f.after != nil {
		return nil, f.after
	}
	switch a.operation {
	case evaluate:
		return f.evaluate(c)
	case planBuild:
		fmt.Fprint(c.Stderr, f.dryRun(a.files))
		return nil, nil
	case buildProbe:
		return f.buildProbe(c)
	case readFile:
		return f.probe(a.files[0])
	case buildAgain:
		f.realises(true)
		f.note(func() { f.checkSettings = c.Settings })
		return nil, f.rebuild(c)
	case realise:
		defer f.realises(false)
		f.note(func() { f.realiseSettings = c.Settings })
		return nil, f.realise(ctx, c)
	case findInvalid:
		return f.invalid(a.files), nil
	case addFile:
		return []byte("/nix/store/" + fakeDigest + "c-" + path.Base(a.files[0]) + "\n"), nil
	case showDerivation:
		return nil, f.showDerivations(c.Stdout, a.files)
	case showPaths:
		return f.pathInfo(a.files)
	case findOutputs:
		return lines(slices.Concat(a.files, words(f.changed), f.belowWithTool(a.files), []string{"/nix/store/" + fakeDigest + "d-stdenv"})), nil
	case findReferrers:
		return lines(append(a.files, string(fakePath(f.system, "headless", ".drv")), "/nix/store/"+fakeDigest+"g-other.drv")), nil
	case findClosure:
		return lines(append(f.needs[matrix.Package(nix.StorePath(strings.TrimSuffix(a.files[0], ".drv")).Name())], a.files[0])), nil
	case findReferences:
		return lines(append(a.files, "/nix/store/"+fakeDigest+"d-stdenv.drv")), nil
	case verifyPaths:
		return nil, f.verifyPaths(c.Stderr, a.files)
	case importPaths:
		return []byte("/nix/store/" + fakeDigest + "d-stdenv.drv\n"), nil
	case protectInputs:
		return f.outputsBelow(a.files)
	case exportPaths:
		_, err := fmt.Fprintln(c.Stdout, strings.Join(a.files, " "))
		return nil, err
	}
	return nil, fmt.Errorf("fake engine: unexpected command %s", line)
}

// note changes a field that a test reads at the end.
func (f *fakeEngine) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func lines(words []string) []byte { return []byte(strings.Join(words, "\n") + "\n") }

// verifyPaths prints each path, and Nix's message about each changed path.
func (f *fakeEngine) verifyPaths(stderr io.Writer, paths []string) error {
	output := ""
	for _, path := range paths {
		output += "checking path '" + path + "'...\n"
		if slices.Contains(f.changed, nix.StorePath(path)) {
			output += "error: path '" + path + "' was modified! expected hash 'sha256:1', got 'sha256:2'\n"
		}
	}
	fmt.Fprint(stderr, output)
	if strings.Contains(output, "error: ") {
		return &engine.ExitError{Program: "nix-store", Code: 1, Stderr: output}
	}
	return nil
}

// outputsBelow fails as after a garbage collection, as many times as collects says.
func (f *fakeEngine) outputsBelow(drvs []string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.collects > 0 {
		f.collects--
		return nil, &engine.ExitError{Program: "sh", Code: 1, Stderr: "error: path '" + drvs[0] + "' is not valid"}
	}
	return []byte("/nix/store/" + fakeDigest + "f-input\n"), nil
}

// belowWithTool returns the outputs below derivations if headless is built with a tool.
func (f *fakeEngine) belowWithTool(drvs []string) (below []string) {
	if f.tool == "" {
		return nil
	}
	for _, drv := range drvs {
		below = append(below, strings.TrimSuffix(drv, ".drv"))
	}
	return append(below, string(f.tool), string(f.tool)+".drv")
}

// evaluate returns Nix's answer to the function in the arguments: about all packages, one package, or only the names.
func (f *fakeEngine) evaluate(c engine.Command) ([]byte, error) {
	function := c.Args[len(c.Args)-1]
	fails := func(output string) ([]byte, error) {
		fmt.Fprint(c.Stderr, output)
		return nil, &engine.ExitError{Program: "nix", Code: 1, Stderr: output}
	}
	if function == "builtins.attrNames" {
		return json.Marshal(append([]string{}, f.systems...))
	}
	if f.noFlake != "" {
		return fails(f.noFlake)
	}
	var names []matrix.Package
	packages := map[string]any{}
	for _, p := range fakePackages {
		if f.lacks[p] {
			continue
		}
		names = append(names, p)
		if !strings.Contains(function, nix.Quote(string(p))) && !strings.Contains(function, allDerivations) {
			continue
		}
		switch output, caught := f.throws[p], strings.Contains(function, "tryEval ("); {
		case f.aborts[p] != "":
			return fails(f.aborts[p])
		case output != "" && !caught:
			return fails(output)
		case output != "":
			packages[string(p)] = map[string]any{"thrown": true}
			continue
		}
		out := string(fakePath(f.system, p, ""))
		if p == f.placeholder {
			out = "/1rz4g4znpzjwh1xymhjpm42vipw92pr73vdgl6xs1hycac8kf2n9"
		}
		packages[string(p)] = map[string]any{
			"derivation": fakePath(f.system, p, ".drv"), "outputs": map[string]any{"out": out}, "position": f.position,
		}
	}
	if p, ok := packages[string(f.sameAsDefault)]; ok && strings.Contains(function, allDerivations) {
		names, packages["default"] = append(names, "default"), p
	}
	return json.Marshal(map[string]any{"names": names, "packages": packages})
}

func (f *fakeEngine) dryRun(files []string) string {
	text := "these derivations will be built:\n"
	for _, a := range files {
		if strings.HasSuffix(a, ".drv") && !f.valid[nix.StorePath(strings.TrimSuffix(a, ".drv"))] {
			text += "  " + a + "\n"
		}
	}
	if f.tool != "" && !f.valid[f.tool] {
		text += "  " + string(f.tool) + ".drv\n"
	}
	return text + f.plan
}

// fakeBuilder is a remote builder as its probe sees it.
type fakeBuilder struct {
	noSandbox, emulated, writableInputs bool
	memlock                             uint64
	// fails has Nix's messages about the next probes, one for each. Later probes succeed.
	fails []string
}

func (f *fakeEngine) buildProbe(c engine.Command) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &fakeBuilder{memlock: f.memlock, noSandbox: c.Settings["sandbox"] == "false", emulated: f.engine.Emulator != "", writableInputs: f.writableInputs}
	f.probeSettings = append(f.probeSettings, c.Settings)
	uri, _, _ := strings.Cut(c.Settings["builders"], " ")
	switch {
	case uri != "":
		b = f.builders[uri]
		if c.Settings["max-jobs"] != "0" {
			return nil, fmt.Errorf("fake engine: the probe for %s may be built elsewhere: %v", uri, c.Settings)
		}
	case f.unprivileged && c.Privileged:
		return nil, errors.New("run nix-build: " + engine.NoPrivileges)
	case f.noSandbox && !b.noSandbox:
		return nil, &engine.ExitError{Program: "nix-build", Code: 1, Stderr: "error: cloning builder process: Operation not permitted"}
	case len(f.probeFails) > 0:
		message := f.probeFails[0]
		f.probeFails = f.probeFails[1:]
		return nil, &engine.ExitError{Program: "nix-build", Code: 1, Stderr: message}
	}
	if len(b.fails) > 0 {
		message := b.fails[0]
		b.fails = b.fails[1:]
		return nil, &engine.ExitError{Program: "nix-build", Code: 1, Stderr: message}
	}
	path := fmt.Sprintf("/nix/store/%ss-probe-%d", fakeDigest, len(f.probes))
	f.probes = append(f.probes, f.probeOutput(b))
	return []byte(path + "\n"), nil
}

// probeOutput is the output of the program of package probe; its Parse knows the offsets.
func (f *fakeEngine) probeOutput(b *fakeBuilder) []byte {
	out := make([]byte, 2480)
	binary.LittleEndian.PutUint64(out, b.memlock)
	copy(out[16+2*65:], "6.1.0-fake")
	copy(out[16+4*65:], f.system.Machine())
	binary.LittleEndian.PutUint64(out[408:], 8)
	out[416] = 0b1111
	exe, dir := "/nix/store/x-probe", "/build"
	if b.emulated {
		exe = "/usr/bin/qemu-user"
	}
	opened := int64(3)
	if !b.writableInputs {
		opened = -13 // EACCES
	}
	binary.LittleEndian.PutUint64(out[2472:], uint64(opened))
	if b.noSandbox {
		dir = "/tmp/nix-build-probe.drv-0"
	}
	binary.LittleEndian.PutUint64(out[1440:], uint64(len(exe)))
	copy(out[1448:], exe)
	return append(out, dir+"\x00"...)
}

// probe returns the content of the output at a store path.
func (f *fakeEngine) probe(path string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, err := strconv.Atoi(path[strings.LastIndexByte(path, '-')+1:])
	if err != nil || i >= len(f.probes) {
		return nil, fmt.Errorf("fake engine: no such probe: %s", path)
	}
	return f.probes[i], nil
}

func (f *fakeEngine) realise(ctx context.Context, c engine.Command) error {
	if f.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if f.dies {
		return errors.New("read session: connection reset by peer")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	failed, good := false, 0
	fmt.Fprintln(c.Stderr, `@nix {"action":"start","id":999,"level":0,"text":"","type":104}`)
	for _, drv := range c.Args {
		if message := f.refuses[matrix.Package(nix.StorePath(strings.TrimSuffix(drv, ".drv")).Name())]; strings.HasSuffix(drv, ".drv") && message != "" {
			fmt.Fprintln(c.Stderr, message)
			return &engine.ExitError{Program: "nix-store", Code: 1, Stderr: message}
		}
	}
	if f.tool != "" && !f.valid[f.tool] {
		f.valid[f.tool] = true
		fmt.Fprintf(c.Stderr, `@nix {"action":"start","fields":["%s.drv","",1,1],"id":998,"level":3,"text":"","type":105}`+"\n", f.tool)
		fmt.Fprintln(c.Stderr, `@nix {"action":"stop","id":998}`)
	}
	for i, drv := range c.Args {
		if !strings.HasSuffix(drv, ".drv") {
			continue
		}
		out := nix.StorePath(strings.TrimSuffix(drv, ".drv"))
		fmt.Fprintf(c.Stderr, `@nix {"action":"start","fields":[%q,%q,1,1],"id":%d,"level":3,"text":"","type":105}`+"\n", drv, f.builtOn[matrix.Package(out.Name())], i)
		fmt.Fprintf(c.Stderr, `@nix {"action":"result","fields":["checking %s"],"id":%d,"type":101}`+"\n", out.Name(), i)
		fmt.Fprint(c.Stderr, f.logs[matrix.Package(out.Name())])
		if line := f.says[matrix.Package(out.Name())]; line != "" {
			fmt.Fprintf(c.Stderr, `@nix {"action":"result","fields":[%q],"id":%d,"type":101}`+"\n", line, i)
		}
		if messages := f.fails[matrix.Package(out.Name())]; len(messages) > 0 {
			f.fails[matrix.Package(out.Name())] = messages[1:]
			msg, _ := json.Marshal(fmt.Sprintf(messages[0], drv))
			fmt.Fprintf(c.Stderr, `@nix {"action":"msg","level":0,"msg":%s,"raw_msg":%s}`+"\n", msg, msg)
			failed = true
		} else {
			f.valid[out] = true
			good++
			fmt.Fprintf(c.Stderr, `@nix {"action":"result","fields":[%d,2,0,0],"id":999,"type":105}`+"\n", good)
		}
		fmt.Fprintf(c.Stderr, `@nix {"action":"stop","id":%d}`+"\n", i)
	}
	if failed {
		return &engine.ExitError{Program: "nix-store", Code: 100, Stderr: "error: build failed"}
	}
	return nil
}

// showDerivations is the output of nix show-derivation.
func (f *fakeEngine) showDerivations(stdout io.Writer, drvs []string) error {
	all := map[string]any{}
	for _, drv := range append(slices.Clone(f.fixed), drvs...) {
		out := map[string]string{"path": strings.TrimSuffix(drv, ".drv")}
		if slices.Contains(f.fixed, drv) {
			out["hash"] = "1fed51"
		}
		all[drv] = map[string]any{"outputs": map[string]any{"out": out}}
	}
	return json.NewEncoder(stdout).Encode(all)
}

func (f *fakeEngine) invalid(paths []string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out string
	for _, p := range paths {
		if !f.valid[nix.StorePath(p)] {
			out += p + "\n"
		}
	}
	return []byte(out)
}

func (f *fakeEngine) pathInfo(paths []string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var infos []map[string]any
	for _, p := range paths {
		if !f.valid[nix.StorePath(p)] {
			return nil, &engine.ExitError{Program: "nix", Code: 1, Stderr: "error: path '" + p + "' is not valid"}
		}
		info := map[string]any{"path": p, "narHash": f.narHash, "narSize": 120, "references": []string{p}}
		if p == string(f.tool) {
			info["deriver"] = p + ".drv"
			if f.signed {
				info["signatures"] = []string{"cache:x"}
			}
		}
		infos = append(infos, info)
	}
	return json.Marshal(infos)
}

func (f *fakeEngine) Export(_ context.Context, w io.Writer, paths []nix.StorePath) error {
	for _, p := range paths {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	return nil
}

// fakeStore is a binary cache that has only names. Its stream has one path on each line.
type fakeStore struct {
	mu     sync.Mutex
	paths  []nix.StorePath
	broken error                    // the error of Import
	hashes map[nix.StorePath]string // of outputs with unusual contents
}

func (s *fakeStore) Name() string { return "fake store" }

func (s *fakeStore) Missing(_ context.Context, paths []nix.StorePath) ([]nix.StorePath, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var missing []nix.StorePath
	for _, p := range paths {
		if !slices.Contains(s.paths, p) {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

func (s *fakeStore) Import(_ context.Context, stream io.Reader) ([]nix.Added, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	data, err := io.ReadAll(stream)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var added []nix.Added
	for line := range strings.Lines(string(data)) {
		p := nix.StorePath(strings.TrimSpace(line))
		s.paths = append(s.paths, p)
		added = append(added, nix.Added{Path: p, NARSize: 120, FileSize: 60})
	}
	return added, nil
}

func (s *fakeStore) Closure(_ context.Context, roots []nix.StorePath) ([]nix.PathInfo, error) {
	var infos []nix.PathInfo
	for _, p := range nix.SortedPaths(roots) {
		hash, err := nix.ParseHash(fakeHash)
		if err != nil {
			return nil, err
		}
		infos = append(infos, nix.PathInfo{Path: p, NARHash: hash, NARSize: 120, References: []nix.StorePath{p}})
	}
	return infos, nil
}

func (s *fakeStore) Infos(context.Context, []nix.StorePath) (map[nix.StorePath]nix.PathInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hashes := map[nix.StorePath]string{}
	for _, p := range s.paths {
		hashes[p] = fakeHash
	}
	maps.Copy(hashes, s.hashes)
	return infosOf(hashes)
}

// infosOf makes infos from SRI hashes, of objects that refer to themselves, like those of the fake engine.
func infosOf(hashes map[nix.StorePath]string) (map[nix.StorePath]nix.PathInfo, error) {
	infos := map[nix.StorePath]nix.PathInfo{}
	for path, text := range hashes {
		hash, err := nix.ParseHash(text)
		if err != nil {
			return nil, err
		}
		infos[path] = nix.PathInfo{Path: path, NARHash: hash, References: []nix.StorePath{path}}
	}
	return infos, nil
}

func (s *fakeStore) Dump(_ context.Context, w io.Writer, path nix.StorePath) error {
	_, err := io.WriteString(w, "what the store has of "+path.Name())
	return err
}

func (s *fakeStore) Verify(context.Context, []nix.StorePath) error { return nil }

func (s *fakeStore) LeaveOut(paths []nix.StorePath) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paths = append(s.paths, paths...)
}

func (s *fakeStore) SetAside(context.Context, []nix.StorePath) error { return nil }

// newRecord returns an empty record.
func newRecord(t *testing.T) *record.Record {
	t.Helper()
	r, err := record.Open(filepath.Join(t.TempDir(), "record"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// fakeRun is a run on fakes, with all its parts.
type fakeRun struct {
	*Release
	*recorder
	engines map[matrix.System]*fakeEngine
	store   *fakeStore
	opened  []matrix.System
	openErr error
	mu      sync.Mutex
}

type fakeSource struct{ s run.Snapshot }

func (f fakeSource) Snapshot(context.Context) (run.Snapshot, error) { return f.s, nil }

func newFakeRun(t *testing.T) *fakeRun {
	t.Helper()
	dir := t.TempDir()
	release := &fakeRun{recorder: &recorder{}, store: &fakeStore{}, engines: map[matrix.System]*fakeEngine{}}
	for _, s := range matrix.DefaultSystems() {
		release.engines[s] = newFakeEngine(s)
	}
	release.Release = &Release{
		Job: Job{
			Recorder: &run.Recorder{Report: release.recorder, Now: func() time.Time { return time.Unix(1000, 0) }},
			ID:       "test", Command: "release", Tool: "test", Flake: "fake", Cells: matrix.Expand(matrix.DefaultSystems(), fakePackages),
			Source: fakeSource{run.Snapshot{
				Dir: dir, URL: "github:o/r/abc", Rev: "abc", NARHash: "sha256-x", LastModified: 1,
			}},
			Nix: Nix{Engines: release, Record: newRecord(t), Logs: regular.NewDir(dir).Sub("logs")},
		},
		Store: release.store, Served: []ServingCache{release.store},
		Results: Results{Manifest: regular.AnyFile(filepath.Join(dir, "manifest.json"))},
		Rebuild: Rebuilding{Without: "the test does not want it"},
	}
	return release
}

// preview runs a [Preview], as the command plan does.
func (f *fakeRun) preview(ctx context.Context) (*run.Manifest, error) {
	return (&Preview{Job: f.Job, Served: f.Served, Store: f.Release.Store, Publish: f.Publish}).Run(ctx)
}

// conclude runs a [Report], as the command report does.
func (f *fakeRun) conclude(ctx context.Context, m *run.Manifest, missing map[matrix.System]error, failure error) error {
	r := Report{Recorder: f.Release.Recorder, Flake: f.Flake, Cells: f.Cells, Publish: f.Publish, Results: f.Results, Missing: missing, Failure: failure}
	return r.Run(ctx, m)
}

type recorder = runtest.Recorder

func of[T run.Event](r *recorder) []T { return runtest.Of[T](r) }

func nixSays(format string, args ...any) string { return runtest.NixError(format, args...) }

// Open implements Engines.
func (run *fakeRun) Open(_ context.Context, system matrix.System) (engine.Executor, error) {
	run.mu.Lock()
	defer run.mu.Unlock()
	run.opened = append(run.opened, system)
	return run.engines[system], run.openErr
}
