package main

import "github.com/spf13/cobra"

var releaseCommand = command{name: "release", rebuild: enforce, exports: true, publishes: true, pins: true}

func newRelease(process process) *cobra.Command {
	return newPipeline(process, releaseCommand, "Build for release: all packages, all systems")
}
