package cachixtest

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"sync"

	gonix "zombiezen.com/go/nix"
)

// contents has the paths of a cache, and its uploads.
type contents struct {
	mu        sync.Mutex
	uploads   map[string]*upload // by NAR id; also those that have ended
	paths     map[string]*served // by hash part
	pins      map[string]Pin
	forgotten map[string]bool // hash parts of paths that were removed
	expired   map[string]bool // signatures of URLs that were refused as expired
}

func newContents() *contents {
	return &contents{
		uploads: map[string]*upload{}, paths: map[string]*served{}, pins: map[string]Pin{},
		forgotten: map[string]bool{}, expired: map[string]bool{},
	}
}

// served is a visible store path.
type served struct {
	info    *gonix.NARInfo
	text    string // narinfo, as served
	nar     *object
	narFile string // its name below nar/
}

func (c *contents) path(hash string) *served {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[hash]
}

// narFile returns a NAR by its name. Several paths may have the same bytes.
func (c *contents) narFile(name string) *object {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.paths {
		if p.narFile == name {
			return p.nar
		}
	}
	return nil
}

// Paths returns the visible store paths, sorted.
func (s *Server) Paths() []string {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	paths := make([]string, 0, len(s.cache.paths))
	for _, p := range s.cache.paths {
		paths = append(paths, string(p.info.StorePath))
	}
	slices.Sort(paths)
	return paths
}

// NARInfo returns the narinfo of the path with a hash part, as the public side serves it.
func (s *Server) NARInfo(hash string) (text string, ok bool) {
	p := s.cache.path(hash)
	if p == nil {
		return "", false
	}
	return p.text, true
}

// Pins returns the pins by name.
func (s *Server) Pins() map[string]Pin {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	return maps.Clone(s.cache.pins)
}

// OpenUploads returns the number of uploads that are neither completed nor aborted.
func (s *Server) OpenUploads() int {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	n := 0
	for _, u := range s.cache.uploads {
		if u.state == open {
			n++
		}
	}
	return n
}

// Forget removes the path with a hash part, like the garbage collection of Cachix. Its dependents stay.
func (s *Server) Forget(hash string) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	p := s.cache.paths[hash]
	if p == nil {
		return
	}
	delete(s.cache.paths, hash)
	s.cache.forgotten[hash] = true
	p.nar.drop()
}

// Corrupt inverts a byte in the middle of the NAR of the path with a hash part.
// A second call has no further effect.
func (s *Server) Corrupt(hash string) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if p := s.cache.paths[hash]; p != nil {
		// A reader may still use the old one.
		corrupt := *p.nar
		corrupt.flawed = corrupt.size / 2
		p.nar = &corrupt
	}
}

// Alter changes the narinfo of the path with a hash part, signed by the key of the cache.
func (s *Server) Alter(hash string, change func(*gonix.NARInfo)) error {
	return s.rewrite(hash, s.keys.signer, change)
}

// Forge signs the narinfo of the path with a hash part by another key of the same name.
func (s *Server) Forge(hash string) error {
	_, secret, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	other, err := gonix.ParsePrivateKey(s.keys.public.Name() + ":" + base64.StdEncoding.EncodeToString(secret))
	if err != nil {
		return err
	}
	return s.rewrite(hash, other, func(*gonix.NARInfo) {})
}

func (s *Server) rewrite(hash string, key *gonix.PrivateKey, change func(*gonix.NARInfo)) error {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	p := s.cache.paths[hash]
	if p == nil || key == nil {
		return fmt.Errorf("rewrite narinfo %s: no such path, or no key", hash)
	}
	info := p.info.Clone()
	change(info)
	signature, err := gonix.SignNARInfo(key, info)
	if err != nil {
		return fmt.Errorf("rewrite narinfo %s: %v", hash, err)
	}
	p.text = narInfoText(info, "unknown-deriver", signature)
	return nil
}
