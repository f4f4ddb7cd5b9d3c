package dagger

import (
	"context"
	"fmt"
	"strings"

	"dagger.io/dagger"
)

// The group of Nix's build users, with the numbers that the image nixos/nix has. Another container with the same ones
// is in another process namespace, where Nix does not kill its builders.
const (
	buildUsersGroup = "nixbld"
	buildUsersID    = 30000
	buildUsers      = 32
)

// withBuildUsers adds Nix's build users to an image without them. Builders would run as root there, who owns the store,
// and could change what they are built from.
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

// contents returns the contents of a file, with a line break at the end; nothing where the file is not there.
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
