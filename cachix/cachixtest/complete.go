package cachixtest

import (
	"encoding/hex"
	"net/http"
	"reflect"
	"strings"

	gonix "zombiezen.com/go/nix"
)

// complete answers POST /cache/{name}/multipart-nar/{narId}/complete. The path becomes visible
// after all is verified.
func (s *Server) complete(x *exchange) error {
	if err := x.open(writing, "uploadId"); err != nil {
		return err
	}
	body, err := x.readJSON()
	if err != nil {
		return err
	}
	c, err := decodeCompletion(body)
	if err != nil {
		return broken(http.StatusBadRequest, "%v", err)
	}
	x.update(func(r *Request) { r.Hash = c.info.StorePath.Digest() })
	u, err := x.upload()
	if err != nil {
		return err
	}

	u.completing.Lock()
	defer u.completing.Unlock()
	switch s.cache.stateOf(u) {
	case aborted:
		return afterAbort(u)
	case completed:
		// The first answer may have been lost.
		if !reflect.DeepEqual(u.done, c) {
			return broken(http.StatusConflict, "upload %s was completed in another way", u.narID)
		}
	case open:
		if err := s.finish(u, c); err != nil {
			return err
		}
	}
	answerJSON(x.w, http.StatusOK, []string{})
	return nil
}

// finish verifies an upload, and makes its path visible.
func (s *Server) finish(u *upload, c *completion) error {
	nar, err := s.assemble(u, c)
	if err != nil {
		return err
	}
	info := c.info.Clone() // c is compared with a second request
	info.Compression = gonix.Zstandard
	if u.compression == "xz" {
		info.Compression = gonix.XZ
	}
	narFile := info.FileHash.RawBase16() + ".nar." + u.compression
	info.URL = "nar/" + narFile
	signature, err := s.keys.sign(info, c.cSig)
	if err != nil {
		return err
	}
	if !s.blobs.trusting {
		if err := verify(nar, info); err != nil {
			return broken(http.StatusBadRequest, "%v", err)
		}
	}
	return s.show(u, c, &served{info: info, text: narInfoText(info, c.deriver, signature), nar: nar, narFile: narFile})
}

// assemble returns the parts that the client has named.
func (s *Server) assemble(u *upload, c *completion) (*object, error) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if len(c.parts) != len(u.parts) {
		return nil, broken(http.StatusBadRequest, "InvalidPart: %d parts named, of %d that were uploaded", len(c.parts), len(u.parts))
	}
	for i := 1; i < len(c.parts); i++ {
		if before, number := c.parts[i-1].number, c.parts[i].number; before >= number {
			return nil, broken(http.StatusBadRequest, "InvalidPartOrder: part %d after %d", number, before)
		}
	}
	var parts []blob
	for i, named := range c.parts {
		got, ok := u.parts[named.number]
		switch {
		case !ok || got.eTag != named.eTag:
			return nil, broken(http.StatusBadRequest, "InvalidPart: part %d has the ETag %s, not %s", named.number, got.eTag, named.eTag)
		case i < len(c.parts)-1 && got.size() < s.options.MinPart:
			return nil, broken(http.StatusBadRequest, "EntityTooSmall: part %d has %d bytes, and is not the last", named.number, got.size())
		case i > 0 && i < len(c.parts)-1 && got.size() != parts[0].size(), i > 0 && got.size() > parts[0].size():
			// A rule of R2; S3 has no such rule.
			return nil, broken(http.StatusBadRequest, "InvalidPart: All non-trailing parts must have the same length: %d and %d", parts[0].size(), got.size())
		}
		parts = append(parts, got.blob)
	}
	nar := newObject(parts...)
	if nar.size != c.info.FileSize {
		return nil, broken(http.StatusBadRequest, "cFileSize is %d, the parts have %d bytes", c.info.FileSize, nar.size)
	}
	return nar, nil
}

// show makes a path visible.
func (s *Server) show(u *upload, c *completion, p *served) error {
	for _, ref := range p.info.References {
		if ref == p.info.StorePath || s.hasPath(ref) {
			continue
		}
		err := broken(http.StatusBadRequest, "reference %s is not there", ref.Base())
		s.cache.mu.Lock()
		if s.cache.forgotten[ref.Digest()] {
			// It may have existed at the time of the query.
			err = refused(http.StatusBadRequest, "reference %s is not there any more", ref.Base())
		}
		s.cache.mu.Unlock()
		return err
	}

	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if u.state != open {
		return broken(http.StatusNotFound, "upload %s was aborted", u.narID)
	}
	hash := p.info.StorePath.Digest()
	if old := s.cache.paths[hash]; old == nil {
		s.cache.paths[hash] = p
	} else if old.info.StorePath != p.info.StorePath || !old.info.NARHash.Equal(p.info.NARHash) {
		return broken(http.StatusConflict, "%s is there, with another NAR", old.info.StorePath.Base())
	} else {
		p.nar.drop() // two clients have pushed the same path; the first stays
	}
	u.state, u.parts, u.done = completed, nil, c
	return nil
}

// narInfoText writes a narinfo like Cachix: with a hexadecimal FileHash, and always with a deriver.
func narInfoText(info *gonix.NARInfo, deriver string, signature *gonix.Signature) string {
	var references []string
	for _, ref := range info.References {
		references = append(references, ref.Base())
	}
	lines := []string{
		"StorePath: " + string(info.StorePath),
		"URL: " + info.URL,
		"Compression: " + string(info.Compression),
		"FileHash: sha256:" + hex.EncodeToString(info.FileHash.Bytes(nil)),
		"FileSize: " + decimal(info.FileSize),
		"NarHash: " + info.NARHash.Base32(),
		"NarSize: " + decimal(info.NARSize),
		"References: " + strings.Join(references, " "), // Nix needs the space even without references
		"Deriver: " + deriver,
		"Sig: " + signature.String(),
	}
	return strings.Join(lines, "\n") + "\n"
}
