package dagger

import (
	"context"
	"fmt"
	"strings"

	"dagger.io/dagger"
)

// The group of Nix's build users, with the numbers of the image nixos/nix. Another container may use the same numbers: it
// has its own process namespace, so Nix does not kill its builders.
const (
	buildUsersGroup = "nixbld"
	buildUsersID    = 30000
	buildUsers      = 32
)

// withBuildUsers adds Nix's build users to an image without them. Builders would run there as root, which owns the store,
// and could change their inputs.
func withBuildUsers(ctx context.Context, c *dagger.Container) (*dagger.Container, error) {
	const groupFile, userFile = "/etc/group", "/etc/passwd"
	groups, err := contents(ctx, c, groupFile)
	if err != nil || strings.Contains("\n"+groups, "\n"+buildUsersGroup+":") {
		return c, err
	}
	users, err := contents(ctx, c, userFile)
	if err != nil {
		return nil, err
	}
	var names []string
	for n := 1; n <= buildUsers; n++ {
		name := fmt.Sprintf("%s%d", buildUsersGroup, n)
		names = append(names, name)
		users += fmt.Sprintf("%s:x:%d:%d:Nix build user %d:/var/empty:/sbin/nologin\n", name, buildUsersID+n, buildUsersID, n)
	}
	groups += fmt.Sprintf("%s:x:%d:%s\n", buildUsersGroup, buildUsersID, strings.Join(names, ","))
	return c.WithNewFile(groupFile, groups).WithNewFile(userFile, users), nil
}

// contents returns the contents of a file with a final line break; empty if there is no file.
func contents(ctx context.Context, c *dagger.Container, path string) (string, error) {
	there, err := c.Rootfs().Glob(ctx, strings.TrimPrefix(path, "/"))
	if err != nil || len(there) == 0 {
		return "", err
	}
	text, err := c.File(path).Contents(ctx)
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text, err
}
