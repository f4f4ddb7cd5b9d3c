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

// Object is what is known of a store object: its contents, as Nix gave them to a run, and how it was built.
type Object struct {
	Path nix.StorePath `json:"path"`
	// NARHash is in SRI form. It is empty where only the way of building is known.
	NARHash    string          `json:"narHash,omitempty"`
	NARSize    int64           `json:"narSize,omitempty"`
	References []nix.StorePath `json:"references,omitempty"`
	Deriver    nix.StorePath   `json:"deriver,omitempty"`
	Signatures []string        `json:"signatures,omitempty"`

	Origin Origin `json:"origin,omitempty"`
	// Run is the run that has recorded the contents.
	Run     string  `json:"run,omitempty"`
	Sandbox Sandbox `json:"sandbox,omitempty"`
	// Second says what a second build gave.
	Second Second `json:"second,omitempty"`
	// Difference is in what a second build differed.
	Difference *Difference `json:"difference,omitempty"`
	// Files are the files that were found to hold these contents, the last one first.
	Files []File `json:"files,omitempty"`

	// Unreadable is why the entry of the record cannot be read; nil where it can, or where there is none. Nothing else is
	// known of the object then, and it is not published: the entry may say that a second build differed.
	Unreadable error `json:"-"`
}

// Origin says where the engine's Nix had an object from.
type Origin string

// The origins. It is empty where Nix did not tell.
const (
	Built   Origin = "built"   // on this engine, by the run or before
	Fetched Origin = "fetched" // by Nix, from a cache whose key is trusted
)

// Sandbox says whether an object was built in a sandbox.
type Sandbox string

// The values. It is empty where that is not known, such as of what was fetched.
const (
	SandboxOn  Sandbox = "on"
	SandboxOff Sandbox = "off"
	// WritableInputs is worse: builders could change what they and others built from.
	WritableInputs Sandbox = "writable inputs"
)

// IsOff says whether an object was built without a sandbox that keeps it apart from all else.
func (s Sandbox) IsOff() bool { return s == SandboxOff || s == WritableInputs }

// Second is the result of a second build.
type Second string

// The results. It is empty where there was no second build.
const (
	Same      Second = "same"
	Different Second = "different"
)

// Difference is in what two builds differed.
type Difference struct {
	Reason string   `json:"reason"`
	Kept   []string `json:"kept,omitempty"` // the files of the two NARs
	Page   string   `json:"page,omitempty"`
	Files  []string `json:"files,omitempty"`
}

// File is a file of a binary cache that was read to its end, and held the contents of an object.
type File struct {
	// Info is the SHA-256 of the narinfo that describes the file.
	Info string `json:"info"`
	// Identity tells whether it is the same file and unchanged: device, inode, size, and times of changes.
	Identity string `json:"identity"`
}

// maxFiles is how many files of an object are remembered: those of a few directories of results.
const maxFiles = 4

// Object returns what is known of a store object; false where nothing is. If its entry cannot be read, only Path and
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
		"if it is damaged, what it said against publishing %s is lost; so delete both and build again: rm %s; nix-store --delete %[1]s",
		path, hint.Quote(file))}, false
}

func objectFile(path nix.StorePath) string { return filepath.Join(objectsDir, path.Base()+".json") }

// Change calls change with what is known of each of the objects, and keeps what it makes of it. No other process changes
// the record meanwhile.
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
	// What speaks against an object must outlast a crash. All else can be found out again.
	return r.write(objectFile(path), after, o.Sandbox.IsOff() || o.Second == Different)
}

// Note records the contents of objects, as Nix has told them to a run.
func (r *Record) Note(run string, infos []nix.PathInfo) error {
	byPath := make(map[nix.StorePath]nix.PathInfo, len(infos))
	paths := make([]nix.StorePath, len(infos))
	for i, info := range infos {
		byPath[info.Path], paths[i] = info, info.Path
	}
	return r.Change(paths, func(o *Object) { o.setContents(run, byPath[o.Path]) })
}

// setContents takes over what Nix says of an object. Of other contents than were known, nothing is proven yet.
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

// Matches says whether the recorded contents are those of info: by hash, size and references.
func (o Object) Matches(info nix.PathInfo) bool {
	return o.NARHash != "" && o.NARHash == info.NARHash.SRI() && o.NARSize == info.NARSize &&
		slices.Equal(o.References, nix.SortedPaths(info.References))
}

// Info returns the recorded contents. It is false where none are known.
func (o Object) Info() (nix.PathInfo, bool) {
	hash, err := nix.ParseHash(o.NARHash)
	return nix.PathInfo{
		Path: o.Path, NARHash: hash, NARSize: o.NARSize, References: o.References, Deriver: o.Deriver,
		Signatures: o.Signatures, Ultimate: o.Origin == Built,
	}, err == nil
}

// Holds says whether a file was found to hold the contents.
func (o Object) Holds(f File) bool { return slices.Contains(o.Files, f) }

// AddFile notes that a file holds the contents.
func (o *Object) AddFile(f File) {
	files := append([]File{f}, slices.DeleteFunc(slices.Clone(o.Files), func(old File) bool { return old == f })...)
	o.Files = files[:min(len(files), maxFiles)]
}
