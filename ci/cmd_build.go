package main

import "github.com/spf13/cobra"

var buildCommand = command{name: "build", rebuild: off, exports: true, exportsAll: true}

func newBuild(process process) *cobra.Command {
	return newPipeline(process, buildCommand, "Repeat a run of CI on this machine; never publish")
}
