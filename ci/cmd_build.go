package main

import "github.com/spf13/cobra"

var buildCommand = command{name: "build", rebuild: off, exports: true, exportsAll: true}

func newBuild(sys process) *cobra.Command {
	return newPipeline(sys, buildCommand, "Repeat a run of CI on this machine; never publish")
}
