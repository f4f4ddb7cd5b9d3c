package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Object has the recorded facts about a store object: its contents, as Nix reported them to a run, and how it was built.
type Object struct {
	Path nix.StorePath `json:"path"`
	// NARHash is in SRI form. It is empty if only the build is recorded.
	NARHash    string          `json:"narHash,omitempty"`
	NARSize    int64           `json:"narSize,omitempty"`
	References []nix.StorePath `json:"references,omitempty"`
	Deriver    nix.StorePath   `json:"deriver,omitempty"`
	Signatures []string        `json:"signatures,omitempty"`

	Origin Origin `json:"origin,omitempty"`
	// Run is the run that recorded the contents.
	Run     string  `json:"run,omitempty"`
	Sandbox Sandbox `json:"sandbox,omitempty"`
	// Second is the result of a second build.
	Second Second `json:"second,omitempty"`
	// Difference describes how a second build differed.
	Difference *Difference `json:"difference,omitempty"`
	// Files are files of binary caches with these contents, the newest first.
	Files []File `json:"files,omitempty"`

	// Unreadable is the reason why the entry of the record cannot be read; nil if it can, or if there is none. The object is
	// not published then: the entry may say that a second build differed.
	Unreadable error `json:"-"`
}

// Origin is the source from which Nix on the engine got an object.
type Origin string

// The origins; empty if Nix did not report one.
const (
	Built   Origin = "built"   // on this engine, by this or an earlier run
	Fetched Origin = "fetched" // by Nix, from a cache whose key is trusted
)

// Sandbox is the isolation of the build of an object.
type Sandbox string

// The values; empty if it is not known, for example for fetched objects.
const (
	SandboxOn  Sandbox = "on"
	SandboxOff Sandbox = "off"
	// WritableInputs is worse than SandboxOff: builders could change their own inputs and those of other builds.
	WritableInputs Sandbox = "writable inputs"
)

// IsOff returns whether an object was built without complete isolation.
func (s Sandbox) IsOff() bool { return s == SandboxOff || s == WritableInputs }

// Second is the result of a second build.
type Second string

// The results; empty if there was no second build.
const (
	Same      Second = "same"
	Different Second = "different"
)

// Difference describes how two builds differed.
type Difference struct {
	Reason string   `json:"reason"`
	Kept   []string `json:"kept,omitempty"` // the files with the two NARs
	Page   string   `json:"page,omitempty"`
	Files  []string `json:"files,omitempty"`
}

// File is a file of a binary cache that was read completely, and had the contents of an object.
type File struct {
	// Info is the SHA-256 of the narinfo that describes the file.
	Info string `json:"info"`
	// Identity identifies the unchanged file: device, inode, size, and times of changes.
	Identity string `json:"identity"`
}

// maxFiles is the maximum number of recorded files of an object: enough for some directories of results.
const maxFiles = 4

// Object returns the record of a store object; false if there is none. If its entry cannot be read, only Path and
// Unreadable are set.
func (r *Record) Object(path nix.StorePath) (Object, bool) {
	var o Object
	err := r.read(objectFile(path), &o)
	if err == nil && o.Path != path {
		err = errors.New("it is about another store path")
	}
	switch {
	case err == nil:
		return o, true
	case errors.Is(err, fs.ErrNotExist):
		return Object{}, false
	}
	file := r.dir.File(objectFile(path))
	return Object{Path: path, Unreadable: hint.Wrap(fmt.Errorf("read record %s: %w", file, err),
		"if it is damaged, its objections to publishing %s are lost; so delete both and build again: rm %s; nix-store --delete %[1]s",
		path, hint.Quote(file))}, false
}

func objectFile(path nix.StorePath) string { return filepath.Join(objectsDir, path.Base()+".json") }

// Change calls change with the record of each object, and stores the result. No other process changes the record at the same
// time.
func (r *Record) Change(paths []nix.StorePath, change func(*Object)) error {
	if len(paths) == 0 {
		return nil
	}
	err := r.change(func() error {
		for _, path := range paths {
			if err := r.changeOne(path, change); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("record store objects in %s: %w", r.Path(), err)
	}
	return nil
}

func (r *Record) changeOne(path nix.StorePath, change func(*Object)) error {
	o, _ := r.Object(path)
	if o.Unreadable != nil {
		return o.Unreadable
	}
	o.Path = path
	before, err := json.Marshal(o)
	if err != nil {
		return err
	}
	change(&o)
	after, err := json.Marshal(o)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	// The reasons not to publish an object must survive a crash. All else can be observed again.
	return r.write(objectFile(path), after, o.Sandbox.IsOff() || o.Second == Different)
}

// Note records the contents of objects, as Nix has reported them to a run.
func (r *Record) Note(run string, infos []nix.PathInfo) error {
	byPath := make(map[nix.StorePath]nix.PathInfo, len(infos))
	paths := make([]nix.StorePath, len(infos))
	for i, info := range infos {
		byPath[info.Path], paths[i] = info, info.Path
	}
	return r.Change(paths, func(o *Object) { o.setContents(run, byPath[o.Path]) })
}

// setContents records the contents of an object. If they are new, the results for the earlier contents are removed.
func (o *Object) setContents(run string, info nix.PathInfo) {
	if info.NARHash.IsZero() {
		return
	}
	if !o.Matches(info) {
		o.NARHash, o.NARSize = info.NARHash.SRI(), info.NARSize
		o.References = slices.Clone(nix.SortedPaths(info.References))
		o.Run, o.Files = run, nil
		if o.Second == Same {
			o.Second = ""
		}
	}
	o.Deriver, o.Signatures = info.Deriver, info.Signatures
	switch {
	case info.Ultimate:
		o.Origin = Built
	case len(info.Signatures) > 0:
		o.Origin = Fetched
	}
}

// Matches returns whether info has the recorded hash, size and references.
func (o Object) Matches(info nix.PathInfo) bool {
	return o.NARHash != "" && o.NARHash == info.NARHash.SRI() && o.NARSize == info.NARSize &&
		slices.Equal(o.References, nix.SortedPaths(info.References))
}

// Info returns the recorded contents; false if there are none.
func (o Object) Info() (nix.PathInfo, bool) {
	hash, err := nix.ParseHash(o.NARHash)
	return nix.PathInfo{
		Path: o.Path, NARHash: hash, NARSize: o.NARSize, References: o.References, Deriver: o.Deriver,
		Signatures: o.Signatures, Ultimate: o.Origin == Built,
	}, err == nil
}

// Holds returns whether a file is recorded as one with the contents.
func (o Object) Holds(f File) bool { return slices.Contains(o.Files, f) }

// AddFile records a file with the contents.
func (o *Object) AddFile(f File) {
	files := append([]File{f}, slices.DeleteFunc(slices.Clone(o.Files), func(old File) bool { return old == f })...)
	o.Files = files[:min(len(files), maxFiles)]
}
