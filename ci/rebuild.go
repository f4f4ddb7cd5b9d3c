package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
	"github.com/scopecreep-zip/open-sesame-ci/pipelines"
)

// apart is the minimum time between two builds: times in zip files have a resolution of two seconds.
const apart = 2 * time.Second

// registerRebuild adds --rebuild, which needs no value to be enforced.
func (f *flags) registerRebuild(c *cobra.Command, preset string) {
	s := c.Flags()
	s.StringVar(&f.rebuild, "rebuild", preset, "build each package twice, and what a difference does: enforce (exit code 3), warn or off; if given, also build what a cache has")
	s.Lookup("rebuild").NoOptDefVal = enforce
	s.StringArrayVar(&f.rebuildOn, "rebuild-on", nil, "engine of the second builds: dagger, host, or SYSTEM=URL of a Dagger engine; repeatable (default: that of the first)")
	f.rebuildGiven = func() bool { return s.Changed("rebuild") }
}

// parseRebuild reads --rebuild.
func (f *flags) parseRebuild(o *options) error {
	o.rebuild.Apart = apart
	switch f.rebuild {
	case enforce:
	case warn:
		o.rebuild.WarnOnly = true
	case off:
		o.rebuild.Without = "--rebuild=" + off
	case "":
		o.rebuild.Without = "this command does not rebuild"
	default:
		return fmt.Errorf("parse --rebuild %q: want %s, %s or %s", f.rebuild, enforce, warn, off)
	}
	// An explicit --rebuild also rebuilds substituted outputs. A release that has nothing to build ends at once.
	o.rebuild.Fetched = f.rebuildGiven != nil && f.rebuildGiven() && o.rebuild.Without == ""
	return f.parseRebuildOn(o)
}

func (f *flags) parseRebuildOn(o *options) error {
	if len(f.rebuildOn) == 0 {
		return nil
	}
	if o.rebuild.Without != "" {
		return hint.Wrap(fmt.Errorf("parse --rebuild-on %s: nothing is built a second time", f.rebuildOn[0]), "add --rebuild")
	}
	choice, err := parseEngineChoice("--rebuild-on", f.rebuildOn)
	if err != nil {
		return err
	}
	if choice.kind == engineAuto {
		return fmt.Errorf("parse --rebuild-on %s: say which engine", engineAuto)
	}
	o.rebuildOn = choice
	return nil
}

// elsewhere returns the engines of second builds, for the systems that have one of their own.
func elsewhere(o options, first *engines) map[matrix.System]pipelines.Engines {
	on := map[matrix.System]pipelines.Engines{}
	for _, cell := range o.cells {
		if o.rebuildOn.kind != "" || o.rebuildOn.native[cell.System] != "" {
			on[cell.System] = first.with(o.rebuildOn)
		}
	}
	return on
}
