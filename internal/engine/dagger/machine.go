package dagger

import (
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"dagger.io/dagger"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/engine/probe"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// machine describes an engine.
type machine struct {
	native     matrix.System // the engine's own
	emulator   string        // as in [engine.Engine]
	compatible bool          // as in [engine.Engine]
	notes      []string
}

// machineInfo describes the machine of a container.
type machineInfo struct {
	nix   nix.Version
	cores int
	free  int64 // bytes on the file system of the store
	// report is that of a program of the executor's system; nil if the machine does not run it.
	report *probe.Report
	kernel string
	boot   string // identifies this boot of the kernel
}

// choose chooses the container for commands.
//
// If the image supports the engine's own platform, the container has that platform. For a foreign system, the kernel's
// binfmt entry then emulates only the builders: Nix runs at full speed, and its sandbox works. If the kernel has no such
// entry, the engine emulates a whole container of the foreign platform.
func (x *Executor) choose(ctx context.Context, native matrix.System) error {
	x.machine.native = native
	if !x.image.has(native) {
		return x.chooseForeign(ctx, "the image is made for "+string(x.options.System)+" alone")
	}
	if err := x.use(ctx, native, nil); err != nil {
		return err
	}
	l, err := x.machineInfo(ctx)
	if err != nil {
		return err
	}
	switch {
	case x.options.System == native:
	case l.report != nil:
		if x.machine.compatible = !l.report.Emulated(); !x.machine.compatible {
			x.machine.emulator = "binfmt"
		}
		// The list's own name begins with "extra-": this appends to it.
		x.settings["extra-extra-platforms"] = string(x.options.System)
	case x.image.has(x.options.System):
		return x.chooseForeign(ctx, "the engine's kernel has no binfmt entry with flag F for "+x.options.System.Machine())
	}
	return nil
}

// chooseForeign uses a container of the foreign platform.
func (x *Executor) chooseForeign(ctx context.Context, why string) error {
	if !x.image.has(x.options.System) {
		return hint.Wrap(fmt.Errorf("use image %s for %s: it is made for %v", x.image.name, x.options.System, x.image.systems),
			"--image with an image for %s or for the engine's own platform; or an engine of that system with such an image, a machine in --builders, or --engine host", x.options.System)
	}
	// An emulator refuses to set up the filter of system calls, with or without a sandbox (nix#5258).
	if err := x.use(ctx, x.options.System, nix.Settings{"filter-syscalls": "false"}); err != nil {
		return err
	}
	if _, err := x.machineInfo(ctx); err != nil {
		return err
	}
	if x.options.System != x.machine.native {
		x.machine.emulator = "container"
		x.machine.notes = append(x.machine.notes, why+
			": all of Nix is emulated, which is slow, and there is no sandbox and no filter of system calls")
	}
	return nil
}

// use makes the container of a platform, with its volumes.
//
// The volumes are named by platform and image, because another version of Nix may not understand their contents. Executors
// that run at the same time share them. Nix supports that except for garbage collection, so it never collects garbage.
func (x *Executor) use(ctx context.Context, s matrix.System, extra nix.Settings) error {
	x.platform = s
	x.settings = x.options.Settings.With(nix.Settings{"auto-optimise-store": "false", "min-free": "0"}).With(extra)
	limit, what := x.options.limits.transfer, "load image "+x.image.name
	defer x.options.noticeLong(atMost("loading image "+x.image.name, limit))()

	c := x.client.Container(dagger.ContainerOpts{Platform: dagger.Platform(s.Platform())})
	if x.image.archive != "" {
		c = c.Import(x.client.Host().File(x.image.archive))
	} else {
		c = c.From(x.image.identity)
	}
	err := x.query(ctx, limit, what, imageRules, func(ctx context.Context) (err error) {
		if c, err = withBuildUsers(ctx, c.WithUser("0:0")); err == nil {
			x.rootfs, err = c.Sync(ctx)
		}
		return err
	})
	if err != nil {
		return err
	}
	var service *dagger.Service
	err = x.query(ctx, x.options.limits.answer, "connect containers with this process", nil, func(ctx context.Context) (err error) {
		service, err = x.tunnel.service(ctx, x.client)
		return err
	})
	if err != nil {
		return err
	}
	seed := x.rootfs.Directory("/nix")
	err = x.session.call(ctx, limit, func(ctx context.Context) error {
		_, err := seed.Sync(ctx)
		return err
	})
	if err != nil {
		seed = x.client.Directory() // Nix makes its store when it first needs it
	}
	key := fmt.Sprintf("open-sesame-ci-nix-%s-%s", s.Machine(), x.image.digest())
	cache := fmt.Sprintf("open-sesame-ci-cache-%s-%s-for-%s", s.Machine(), x.image.digest(), x.options.System.Machine())
	shared := dagger.ContainerWithMountedCacheOpts{Sharing: dagger.CacheSharingModeShared}
	seeded := shared
	seeded.Source = seed
	x.exec = x.execInContainer
	return x.query(ctx, limit, what, imageRules, func(ctx context.Context) (err error) {
		x.container, err = x.rootfs.
			WithMountedCache("/nix", x.client.CacheVolume(key), seeded).
			WithMountedCache("/root/.cache/nix", x.client.CacheVolume(cache), shared).
			WithNewFile(runPath, runScript).
			WithServiceBinding(tunnelHost, service).
			WithWorkdir("/").
			Sync(ctx)
		return err
	})
}

//go:embed machine-info.sh
var machineInfoScript string

// machineInfo reads facts about the machine in the container.
func (x *Executor) machineInfo(ctx context.Context) (machineInfo, error) {
	program := base64.StdEncoding.EncodeToString(probe.ELF(x.options.System))
	out, err := x.Run(ctx, engine.Command{Program: "bash", Args: []string{"-c", machineInfoScript, "machine-info", program}})
	if err != nil {
		return machineInfo{}, fmt.Errorf("inspect image %s: %w", x.image.name, err)
	}
	return parseMachineInfo(string(out), x.image.name)
}

// parseMachineInfo reads lines of the form "name value".
func parseMachineInfo(out, image string) (machineInfo, error) {
	values := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		values[name] = value
	}
	version, err := nix.ParseVersion(values["version"])
	if err != nil {
		return machineInfo{}, hint.Wrap(fmt.Errorf("inspect image %s: there is no Nix in it", image), "use an image with Nix, such as %s", DefaultImage)
	}
	if err := version.Supported(); err != nil {
		return machineInfo{}, hint.Wrap(fmt.Errorf("inspect image %s: %w", image, err), "use an image with a newer Nix, such as %s", DefaultImage)
	}
	l := machineInfo{nix: version, kernel: values["kernel"], boot: values["boot"]}
	if out, err := base64.StdEncoding.DecodeString(values["probe"]); err == nil {
		if report, err := probe.Parse(out); err == nil {
			l.report = &report
		}
	}
	l.cores, _ = strconv.Atoi(values["cores"])
	l.free, _ = strconv.ParseInt(values["free"], 10, 64)
	return l, nil
}
