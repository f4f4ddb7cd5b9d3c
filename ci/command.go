package main

// command is what the shared code has to know of a command that runs the pipeline. The file of each command fills in
// its own. Nothing else compares the names of commands.
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
	// publishes: it pushes, or says what it would push.
	publishes bool
	// pins: it pins what it has published.
	pins bool
}

// isPinned reports whether the command of that name pins what it has published.
func isPinned(name string) bool {
	for _, cmd := range []command{releaseCommand, warmCommand, buildCommand} {
		if cmd.name == name {
			return cmd.pins
		}
	}
	return false
}
