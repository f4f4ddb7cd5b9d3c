// Package pipelines has the steps of a run and their order.
//
// [Release.Run] in release.go calls the steps from first to last. Each step has a file of its name, and is a method
// that changes the state of a cell. The other kinds of run ([Preview], [Report], [Draft]) have a type and a file each,
// and use the same steps. The interfaces in deps.go are what a run needs from engines and caches.
package pipelines
