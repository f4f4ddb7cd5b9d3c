package main

// command has the properties of a command that runs the pipeline, for shared code. The file of each command fills them in.
// No other code compares the names of commands.
type command struct {
	name string
	// manifest is the name of its manifest in the output directory, if that is not manifest.json.
	manifest string
	// rebuild is the default of --rebuild.
	rebuild string
	// readOnly: it changes nothing, not even the output directory.
	readOnly bool
	// exports: it exports outputs into OUT/cache, with their derivations beside the manifest.
	exports bool
	// exportsAll: it also exports outputs that the public cache has.
	exportsAll bool
	// ignoresCaches: it also builds what a cache has.
	ignoresCaches bool
	// recorded: its settings are those of a manifest or of flags alone, and not those of the flake.
	recorded bool
	// publishes: it pushes, or says what it would push.
	publishes bool
	// pins: it pins what it has published.
	pins bool
}

// isPinned reports whether the command of that name pins what it publishes.
func isPinned(name string) bool {
	for _, cmd := range []command{releaseCommand, warmCommand, buildCommand} {
		if cmd.name == name {
			return cmd.pins
		}
	}
	return false
}
