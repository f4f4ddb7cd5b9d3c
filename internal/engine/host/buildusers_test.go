package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

func TestBuildUsersAreMembersOfTheirGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "group")
	groups := "root:x:0:\nnixbld:x:30000:nixbld1,nixbld2\nempty:x:30001:\n"
	if err := os.WriteFile(file, []byte(groups), 0o644); err != nil {
		t.Fatal(err)
	}
	for group, good := range map[string]bool{"": true, "nixbld": true, "empty": false, "no-such-group": false, "nix": false} {
		err := buildUsersProblem(group, file)
		if good != (err == nil) {
			t.Errorf("group %q: %v", group, err)
		}
		var none *NoBuildUsersError
		if !good && (!errors.As(err, &none) || none.Group != group || !cmp.Equal(hint.Of(err), []string{"go run ./ci doctor --fix"})) {
			t.Errorf("group %q: %v, hints %q", group, err, hint.Of(err))
		}
	}
	if err := buildUsersProblem("root", filepath.Join(t.TempDir(), "absent")); err != nil {
		t.Errorf("a group that is in no file: %v", err)
	}
}
