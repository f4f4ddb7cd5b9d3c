package container

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// connectRules tell from what the Dagger client writes why it could not reach an engine. The first that matches counts.
var connectRules = []struct{ words, reason, hint string }{
	{"was not available", "no container runtime was found", "install Docker or Podman, or set " + runnerHostVariable + " to an engine's address"},
	{"no driver for scheme", "its address has an unknown scheme", "schemes are " + strings.Join(schemes, ", ")},
	{"failed to pull image", "the engine's image could not be pulled", "load it by hand (docker load), or name a mirror: " + runnerHostVariable + "=image://mirror.example.com/engine:" + engineVersion},
	{"failed to download checksums", "the Dagger client could not be downloaded", withoutDownload},
	{"failed to call info", "what listens there is not a Dagger engine", "check host and port"},
	{"is not a valid dagger server", "what listens there is not a Dagger engine", "check host and port"},
	{"incompatible engine version", "the engine is of an incompatible version", "use an engine " + engineVersion},
	{"incompatible client version", "the engine is of an incompatible version", "use an engine " + engineVersion},
	{"no tty available", "the client was told to draw on a terminal", "unset DAGGER_PROGRESS"},
	{"permission denied", "access to its socket was denied", "run as a user who may open it: sudo usermod -aG docker $USER"},
	{"failed to run command", "the container runtime does not answer", "start its daemon, or give this user access to it: sudo usermod -aG docker $USER"},
	{"connection refused", "nothing listens there", "start the engine, or correct its address"},
	{"no such host", "its host is unknown", "correct the engine's address"},
}

// explain makes one error of what the client wrote before it gave up.
func explain(found, stderr string) error {
	for _, rule := range connectRules {
		if line := lineWith(stderr, rule.words); line != "" {
			return hint.Wrap(fmt.Errorf("connect to %s: %s: %s", found, rule.reason, line), "%s", rule.hint)
		}
	}
	reason := lastLine(stderr)
	if reason == "" {
		reason = "the client ended without a word"
	}
	return hint.Wrap(fmt.Errorf("connect to %s: %s", found, reason), "see the log of the Dagger client")
}

// execRules do the same for what an engine says of an exec that it could not start.
var execRules = []struct{ words, reason, hint string }{
	{"security.insecure is not allowed", pipelines.NoPrivileges, `allow insecureRootCapabilities in the engine's engine.json: {"security":{"insecureRootCapabilities":true}}`},
	{"exec format error", "the engine cannot run programs of the image's platform", "register QEMU on the engine's machine: docker run --privileged --rm tonistiigi/binfmt --install all; then restart the engine"},
	{"executable file not found", "the image has no bash", "use an image with bash, coreutils, tar and Nix, such as nixos/nix"},
	{"no such file or directory", "a file is missing in the image", "use an image with bash, coreutils, tar and Nix, such as nixos/nix"},
	{"No space left on device", "the engine's disk is full", "make room on it: dagger core engine local-cache prune"},
	{"no space left on device", "the engine's disk is full", "make room on it: dagger core engine local-cache prune"},
}

// imageRules do so for what it says of an image.
var imageRules = []struct{ words, reason, hint string }{
	{"no manifest for platform", "the image is not made for the engine's platform", "use an image for several platforms, or one for this engine's"},
	{"no match for platform", "the image is not made for the engine's platform", "use an image for several platforms, or one for this engine's"},
	{"failed to resolve", "its registry does not have it, or cannot be reached", "give the engine a way to the registry, or use an image from a file: --image nix.tar"},
	{"dial tcp", "its registry cannot be reached", "give the engine a way to the registry, or use an image from a file: --image nix.tar"},
	{"401 Unauthorized", "its registry wants a login", "docker login"},
	{"image archive import", "it is not an image", "make it with docker save, skopeo copy … oci-archive:…, or as a tarball of a root file system"},
}

// plain is the text of an error of Dagger on one line, without the traces and the JSON that are around it.
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

// lineWith returns the last line that has the words, without the marks of the plain progress log.
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

// explained applies the rules to an error.
func explained(what string, err error, rules []struct{ words, reason, hint string }) error {
	text := err.Error()
	for _, rule := range rules {
		if strings.Contains(text, rule.words) {
			return hint.Wrap(fmt.Errorf("%s: %s", what, rule.reason), "%s", rule.hint)
		}
	}
	return errors.New(what + ": " + plain(err))
}
