package host

import (
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// NoBuildUsersError says that root's Nix wants to run builders as the members of a group, and there are none. Debian's
// nix-bin makes none.
type NoBuildUsersError struct{ Group string }

func (e *NoBuildUsersError) Error() string {
	return fmt.Sprintf("find users for builders: there is no group %s with members", e.Group)
}

const groupFile = "/etc/group"

// buildUsersProblem returns an error where the group of build users has no members; file is the machine's list of groups.
// An empty name is the owner's own choice: builders run as root then, and the smoke step finds out what that means.
func buildUsersProblem(group, file string) error {
	if group == "" {
		return nil
	}
	problem := hint.Wrap(&NoBuildUsersError{group}, "go run ./ci doctor --fix")
	groups, err := os.ReadFile(file)
	if err != nil {
		groups = nil // the groups are elsewhere
	}
	for line := range strings.Lines(string(groups)) {
		if members, ok := strings.CutPrefix(strings.TrimSpace(line), group+":"); ok {
			if strings.HasSuffix(members, ":") {
				return problem
			}
			return nil
		}
	}
	if _, err := user.LookupGroup(group); err != nil { // it may come from a directory service
		return problem
	}
	return nil
}
