package dagger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"dagger.io/dagger"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// A rule has the reason for an error with some words in its text, and a hint.
type rule struct{ words, reason, hint string }

// connectRules explain the output of a Dagger client that could not reach an engine. The first match counts. CLIENT in a
// hint is replaced by the path of the client, COMMAND by the command of the container runtime that failed.
var connectRules = []rule{
	{"was not available", "no container runtime was found", "install Docker or Podman, or set " + runnerHostVariable + " to an engine's address"},
	{"no driver for scheme", "its address has an unknown scheme", "schemes are " + strings.Join(schemes, ", ")},
	{"failed to pull image", "the engine's image could not be pulled", "for the reason: COMMAND; load the image by hand (docker load), or name a mirror: " + runnerHostVariable + "=image://mirror.example.com/engine:" + engineVersion},
	{"failed to run command", "the container runtime failed", "for its own message: COMMAND"},
	{"failed to call info", "what listens there is not a Dagger engine", "check host and port, or the path of the socket"},
	{"is not a valid dagger server", "what listens there is not a Dagger engine", "check host and port, or the path of the socket"},
	{"incompatible engine version", "the engine is too old for the Dagger client", "use an engine " + engineVersion},
	{"incompatible client version", "the Dagger client is too old for the engine", "use a client " + engineVersion + " instead of CLIENT: unset or correct " + cliVariable},
	{"permission denied", "access to it was denied", "run as a user who may open it"},
	{"connection refused", "nothing listens there", "start the engine, or correct its address"},
	{"no such host", "its host is unknown", "correct the engine's address"},
}

// explainConnection returns the error for the output of a client that failed.
func explainConnection(t target, cli, stderr string, o Options) error {
	for _, rule := range connectRules {
		line := lineWith(stderr, rule.words)
		if line == "" {
			continue
		}
		command := "the runtime"
		if m := failedCommand.FindStringSubmatch(stderr); m != nil {
			command = m[1]
		}
		return hint.Wrap(fmt.Errorf("connect to %s: %s: %s", t.found, rule.reason, line),
			"%s", strings.NewReplacer("CLIENT", cli, "COMMAND", command).Replace(rule.hint))
	}
	reason := lastLine(stderr)
	if reason == "" {
		reason = "the client ended without output"
	}
	err := fmt.Errorf("connect to %s: %s", t.found, reason)
	if o.Log != nil {
		return hint.Wrap(err, "see the log of the Dagger client: %s", o.LogFile)
	}
	return hint.Wrap(err, "run it again with -v, which keeps the log of the Dagger client")
}

var failedCommand = regexp.MustCompile(`failed to run command \[([^\]]*)\]`)

// execRules explain errors of an exec that the engine could not start.
var execRules = []rule{
	{"security.insecure is not allowed", engine.NoPrivileges, `allow insecureRootCapabilities in the engine's engine.json: {"security":{"insecureRootCapabilities":true}}`},
	{"exec format error", "the engine cannot run programs of the image's platform", "register QEMU on the engine's machine: docker run --privileged --rm tonistiigi/binfmt --install all; then restart the engine"},
	{"executable file not found", "the image has no bash", "use an image with bash, coreutils, tar and Nix, such as nixos/nix"},
	{"fork/exec", "bash of the image cannot be started", "use an image with bash, coreutils, tar and Nix, such as nixos/nix"},
}

// imageRules explain errors of loading an image.
var imageRules = []rule{
	{"no manifest for platform", "the image is not made for the engine's platform", "use an image for several platforms, or one for this engine's"},
	{"no match for platform", "the image is not made for the engine's platform", "use an image for several platforms, or one for this engine's"},
	{"failed to resolve", "its registry does not have it, or cannot be reached", "give the engine a way to the registry, or use an image from a file: --image nix.tar"},
	{"dial tcp", "its registry cannot be reached", "give the engine a way to the registry, or use an image from a file: --image nix.tar"},
	{"401 Unauthorized", "its registry wants a login", "docker login"},
	{"image archive import", "it is not an image", "make it with docker save, skopeo copy … oci-archive:…, or as a tarball of a root file system"},
}

// plain returns the text of an error of Dagger in one line, without traces and JSON.
func plain(err error) string {
	text := err.Error()
	if _, body, ok := strings.Cut(text, "returned error 502: "); ok {
		var reply struct{ Errors []struct{ Message string } }
		if json.Unmarshal([]byte(body), &reply) == nil && len(reply.Errors) > 0 {
			text = reply.Errors[0].Message
		}
	}
	text = strings.TrimPrefix(origin.ReplaceAllString(text, ""), "input: ")
	return strings.Join(strings.Fields(text), " ")
}

var origin = regexp.MustCompile(`\s*\[traceparent:[^\]]*\]`)

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// lineWith returns the last line with the words, without the prefix of the progress log.
func lineWith(text, words string) string {
	found := ""
	for line := range strings.Lines(text) {
		if strings.Contains(line, words) {
			found = line
		}
	}
	found = marks.ReplaceAllString(origin.ReplaceAllString(found, ""), "")
	return strings.TrimSpace(strings.TrimPrefix(found, "Error: "))
}

var marks = regexp.MustCompile(`^\s*(\d+\s*:\s*)?(\[[0-9.]+s\]\s*)?(\| |! |✘ )?`)

// query makes one call to the engine within a limit, and explains its error.
func (x *Executor) query(ctx context.Context, limit time.Duration, what string, rules []rule, f func(context.Context) error) error {
	if err := x.session.call(ctx, limit, f); err != nil {
		return x.explain(ctx, what, err, rules)
	}
	return nil
}

// explain returns the error for a failed call. In this order, it is the context's, a lost engine, a full disk, or what the
// rules say.
func (x *Executor) explain(ctx context.Context, what string, err error, rules []rule) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if lost := x.session.lost(err); lost != nil {
		return fmt.Errorf("%s: %w", what, lost)
	}
	text := plain(err)
	if exit := (*dagger.ExecError)(nil); errors.As(err, &exit) && lastLine(exit.Stderr) != "" {
		text += ": " + lastLine(exit.Stderr)
	}
	if diskFull.MatchString(text) {
		return hint.Wrap(fmt.Errorf("%s: %w: %s", what, engine.ErrDiskFull, text),
			"make room on the disk of the engine's state, or empty its cache, after which everything is built again: %s", pruneCommand(x.host))
	}
	for _, rule := range rules {
		if strings.Contains(text, rule.words) {
			return hint.Wrap(fmt.Errorf("%s: %s: %s", what, rule.reason, text), "%s", rule.hint)
		}
	}
	return errors.New(what + ": " + text)
}

// diskFull matches the messages of the kernel and of SQLite.
var diskFull = regexp.MustCompile("(?i)no space left on device|database or disk is full")

// pruneCommand returns the command that empties the cache of the engine at the address; empty for the default engine.
func pruneCommand(host string) string {
	const command = "dagger core engine local-cache prune"
	if host == "" {
		return command
	}
	return runnerHostVariable + "=" + hint.Quote(host) + " " + command
}
