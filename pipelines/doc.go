// Package pipelines is the story of a run.
//
// release.go tells it from top to bottom; each step of it stands in the file of its name.
// What a run needs of the world is in deps.go, as interfaces:
// this package knows no engine, no cache and no screen.
package pipelines
