package main

import "github.com/spf13/cobra"

var warmCommand = command{name: "warm", rebuild: off, exports: true, publishes: true}

func newWarm(process process) *cobra.Command {
	return newPipeline(process, warmCommand, "Build a pull request and push it, to warm the cache; pin nothing")
}
