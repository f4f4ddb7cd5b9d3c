package cachixtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Pin protects a store path from the garbage collection, under a name.
type Pin struct {
	StorePath string // absolute
	Artifacts []string
	Keep      *Keep // nil if the request had null
}

// Keep is the lifetime of the revisions of a pin: a number of Days or Revisions, or Forever.
type Keep struct {
	Tag      string
	Contents int // 0 for Forever
}

// pin answers POST /cache/{name}/pin.
func (s *Server) pin(x *exchange) error {
	if err := x.open(pinning); err != nil {
		return err
	}
	body, err := x.readJSON()
	if err != nil {
		return err
	}
	name, p, err := decodePin(body)
	if err != nil {
		return broken(http.StatusBadRequest, "%v", err)
	}
	storePath, err := nix.ParseStorePath(p.StorePath)
	if err != nil || string(storePath) != p.StorePath {
		return broken(http.StatusBadRequest, "storePath is %q, want an absolute store path", p.StorePath)
	}
	hash := storePath.Digest()
	x.update(func(r *Request) { r.Hash = hash })

	s.cache.mu.Lock()
	visible := s.cache.paths[hash]
	if visible != nil && visible.info.StorePath == storePath {
		s.cache.pins[name] = p
	} else {
		visible = nil
	}
	forgotten := s.cache.forgotten[hash]
	s.cache.mu.Unlock()
	switch {
	case visible != nil:
		answerJSON(x.w, http.StatusOK, []string{})
		return nil
	case forgotten:
		return refused(http.StatusBadRequest, "%s is not in the cache any more", storePath)
	default:
		return broken(http.StatusBadRequest, "%s is not in the cache", storePath)
	}
}

func decodePin(body []byte) (name string, p Pin, err error) {
	f, err := decodeFields(body, "name", "storePath", "artifacts", "keep")
	if err != nil {
		return "", Pin{}, err
	}
	for field, to := range map[string]any{"name": &name, "storePath": &p.StorePath, "artifacts": &p.Artifacts} {
		if err := f.decode(field, to); err != nil {
			return "", Pin{}, err
		}
	}
	if name == "" {
		return "", Pin{}, fmt.Errorf("name is empty")
	}
	for _, artifact := range p.Artifacts {
		if artifact == "" || path.IsAbs(artifact) || path.Clean(artifact) != artifact || artifact == ".." || len(artifact) > 2 && artifact[:3] == "../" {
			return "", Pin{}, fmt.Errorf("artifact %q is no path below the store path", artifact)
		}
	}
	p.Keep, err = decodeKeep(f["keep"])
	return name, p, err
}

func decodeKeep(data []byte) (*Keep, error) {
	if string(data) == "null" {
		return nil, nil
	}
	var tag struct{ Tag string }
	if err := json.Unmarshal(data, &tag); err != nil {
		return nil, fmt.Errorf("field keep: %v", err)
	}
	keep := &Keep{Tag: tag.Tag}
	if keep.Tag == "Forever" {
		_, err := decodeFields(data, "tag")
		return keep, err
	}
	f, err := decodeFields(data, "tag", "contents")
	if err == nil {
		err = f.decode("contents", &keep.Contents)
	}
	if err != nil {
		return nil, fmt.Errorf("field keep: %v", err)
	}
	if !slices.Contains([]string{"Days", "Revisions"}, keep.Tag) || keep.Contents < 1 {
		return nil, fmt.Errorf("keep is %s: want Days or Revisions of a number from 1, or Forever", data)
	}
	return keep, nil
}
