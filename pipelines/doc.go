// Package pipelines is the story of a run.
//
// release.go tells it from top to bottom. Each step has a file of its name, and is a method that changes the state of a
// cell. The other stories, which have a type and a file each, use the same steps. The interfaces in deps.go are what a run
// needs from engines and caches.
package pipelines
