package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	accounts "os/user"
	"strconv"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/host"
)

// buildUsers is how many users Nix's own installer makes: each builds one derivation at a time.
const buildUsers = 32

// addBuildUsers makes the users that root's Nix runs builders as, as Nix's manual says: members of the group, without a
// home and a shell. They get numbers of this machine's range for the system: Nix kills all processes of a build user
// before it builds as that user, and those of containers on this machine often have Nix's usual numbers, 30001 and up.
func addBuildUsers(ctx context.Context, sys process, group string) error {
	if _, err := exec.LookPath("useradd"); err != nil {
		if err := install(ctx, sys, []string{"passwd"}); err != nil {
			return err
		}
	}
	fmt.Fprintf(sys.stderr, "adding the group %s and %d users for builders …\n", group, buildUsers)
	shell, err := exec.LookPath("nologin")
	if err != nil {
		shell = "/usr/sbin/nologin"
	}
	if _, err := accounts.LookupGroup(group); err != nil {
		if err := administer(ctx, sys, "groupadd", "--system", group); err != nil {
			return err
		}
	}
	for n := 1; n <= buildUsers; n++ {
		name := group + strconv.Itoa(n)
		args := []string{"usermod", "--append", "--groups", group, name}
		if _, err := accounts.Lookup(name); err != nil {
			args = []string{
				"useradd", "--system", "--no-user-group", "--gid", group, "--groups", group, "--no-create-home",
				"--home-dir", "/var/empty", "--shell", shell, "--comment", fmt.Sprintf("Nix build user %d", n), name,
			}
		}
		if err := administer(ctx, sys, args[0], args[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// administer runs a program of the package passwd.
func administer(ctx context.Context, sys process, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = sys.environ
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s %s: %v: %s", program, args[len(args)-1], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// withBuildUsers returns what problem returns, once the build users that it misses are there.
func withBuildUsers(ctx context.Context, sys process, problem func() error) error {
	err := problem()
	none := (*host.NoBuildUsersError)(nil)
	if !errors.As(err, &none) {
		return err
	}
	if err := addBuildUsers(ctx, sys, none.Group); err != nil {
		return err
	}
	return problem()
}
