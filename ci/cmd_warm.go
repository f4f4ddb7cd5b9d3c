package main

import "github.com/spf13/cobra"

var warmCommand = command{name: "warm", rebuild: off, exports: true, publishes: true}

func newWarm(sys process) *cobra.Command {
	return newPipeline(sys, warmCommand, "Build a pull request and push it, to warm the cache; pin nothing")
}
