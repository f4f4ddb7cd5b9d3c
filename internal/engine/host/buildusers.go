package host

import (
	"fmt"
	"os"
	"os/user"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// NoBuildUsersError says that root's Nix runs builders as the members of a group, and that there are none. Debian's nix-bin
// adds none.
type NoBuildUsersError struct{ Group string }

func (e *NoBuildUsersError) Error() string {
	return fmt.Sprintf("find users for builders: there is no group %s with members", e.Group)
}

const groupFile = "/etc/group"

// buildUsersProblem returns an error if the group of build users has no members; file is the machine's list of groups. With
// an empty name in nix.conf, builders run as root, and the probe step measures the consequences.
func buildUsersProblem(group, file string) error {
	if group == "" {
		return nil
	}
	problem := hint.Wrap(&NoBuildUsersError{group}, "go run ./ci doctor --fix")
	groups, _ := os.ReadFile(file) // without it, the groups are in a directory service
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
