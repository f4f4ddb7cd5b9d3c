package opensesame

import "testing"

func TestIsOpenSesame(t *testing.T) {
	for ref, want := range map[string]bool{
		Flake: true,
		"github:scopecreep-zip/open-sesame/v1.14.2":                     true,
		"github:ScopeCreep-zip/open-sesame/main?narHash=sha256-AA":      true,
		"git+https://github.com/ScopeCreep-zip/open-sesame.git?ref=dev": true,
		"git+https://github.com/ScopeCreep-zip/open-sesame":             true,

		"github:stranger/open-sesame":                                     false,
		"github:ScopeCreep-zip/open-sesame-ci":                            false,
		"github:ScopeCreep-zip/open-sesame?host=git.example":              false,
		"github:ScopeCreep-zip/open-sesame?dir=a&%68ost=git.example":      false,
		"github:ScopeCreep-zip/open-sesame/../../stranger/x":              false,
		"git+https://github.com/ScopeCreep-zip/open-sesame/../stranger/x": false,
		"git+https://github.com.example/ScopeCreep-zip/open-sesame":       false,
		"git+https://x@github.com/ScopeCreep-zip/open-sesame":             false,
		"./github:ScopeCreep-zip/open-sesame":                             false,
		"path:/ScopeCreep-zip/open-sesame":                                false,
		"example":                                                         false,
		"":                                                                false,
	} {
		if got := Is(ref); got != want {
			t.Errorf("Is(%q) = %t", ref, got)
		}
	}
}
