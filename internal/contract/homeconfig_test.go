package contract

import (
	"encoding/json"
	"testing"
)

// A key with dots is another key than those of nested tables.
func TestConfigIsNestedAsConfigured(t *testing.T) {
	t.Parallel()
	e := &evaluation{Contract: &Contract{HomeManager: &HomeManager{ConfigFile: "app/config.json", ConfigVersion: 3}}}
	for text, isGood := range map[string]bool{
		`{"config_version": 3, "profiles": {"default": {"wm": {"key_bindings": {"g": {"apps": ["contract-app"]}}}}}}`: true,
		`{"config_version": 3, "profiles.default": {"wm.key_bindings": {"g": {"apps": ["contract-app"]}}}}`:           false,
		`{"config_version": 3, "profiles": {"default": {"wm": {"key_bindings": {"g": {"apps": []}}}}}}`:               false,
		`{"config_version": 3}`: false,
	} {
		if !json.Valid([]byte(text)) {
			t.Fatal(text)
		}
		h := &home{Files: map[string]homeFile{"app/config.json": {JSON: &text}}}
		if got := e.config("settings", h); (len(got) == 0) != isGood {
			t.Errorf("%s: results %+v", text, got)
		}
	}
}

// A contract that names no configuration file has no check of it that passes.
func TestConfigWithoutAFileDoesNotPass(t *testing.T) {
	t.Parallel()
	e := &evaluation{Contract: &Contract{HomeManager: &HomeManager{}}}
	for _, r := range named("home-manager/config/both", e.config("both", &home{})) {
		if r.Status != Skip {
			t.Errorf("%+v", r)
		}
	}
}
