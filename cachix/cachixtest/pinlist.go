package cachixtest

import (
	"maps"
	"net/http"
	"slices"
)

// pinList answers GET /cache/{name}/pin: the current path of each pin. The other fields of the answer are not known.
func (s *Server) pinList(x *exchange) error {
	if x.r.PathValue("file") != "pin" {
		return broken(http.StatusNotFound, "no such endpoint")
	}
	if err := x.open(reading); err != nil {
		return err
	}
	s.cache.mu.Lock()
	pins := maps.Clone(s.cache.pins)
	s.cache.mu.Unlock()
	list := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(pins)) {
		list = append(list, map[string]any{
			"name":         name,
			"lastRevision": map[string]any{"storePath": pins[name].StorePath, "artifacts": pins[name].Artifacts},
		})
	}
	answerJSON(x.w, http.StatusOK, list)
	return nil
}
