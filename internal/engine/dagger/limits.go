package dagger

import (
	"strings"
	"time"
)

// limits bound each wait for an engine. A wait also ends with the context of the run, and when the session is lost.
// docs/operations.md lists them.
type limits struct {
	// answer bounds a connection to an engine that runs, and each query that moves no data.
	answer time.Duration
	// provision bounds starting an engine by way of a container runtime, which may have to pull its image, and the
	// download of the Dagger client.
	provision time.Duration
	// transfer bounds loading the Nix image and uploading a directory.
	transfer time.Duration
	// start bounds the time from the request for a command's container until it reports.
	start time.Duration
	// silence is how long the engine may not answer, and a command may not report. In this time, the engine is asked and
	// a command reports several times: see pulses.
	silence time.Duration
}

var defaultLimits = limits{
	answer:    time.Minute,
	provision: 15 * time.Minute,
	transfer:  30 * time.Minute,
	start:     5 * time.Minute,
	silence:   2 * time.Minute,
}

// Limits of operations that normally end at once.
const (
	// pulses is how often the engine is asked in limits.silence. Counting pulses instead of time leaves out the time in
	// which this process was stopped.
	pulses = 12
	// dialTimeout is generous for a network that works.
	dialTimeout = 3 * time.Second
	// runtimeTimeout is how long a container runtime may take to answer; one whose daemon hangs never does.
	runtimeTimeout = 5 * time.Second
	// stateInterval is how often a runtime is asked for the state of the engine's container, until the engine answers.
	stateInterval = time.Second
	// greetingTimeout is how long a connection may take to name its command.
	greetingTimeout = 30 * time.Second
	// stopTimeout is how long Nix may take to end its builders and remove their directories.
	stopTimeout = 3 * time.Second
	// endTimeout is how long the engine may take to notice that a container has ended.
	endTimeout = 5 * time.Second
	// closeTimeout is how long the Dagger client may take to end, for each way of asking it to. It says goodbye to the
	// engine, which takes a tenth of a second, and hangs where the engine does.
	closeTimeout = 3 * time.Second
	// noticeAfter is the time after which the user sees what the program waits for.
	noticeAfter = 2 * time.Second
)

// noticeLong calls Notice with a text, unless the returned function is called soon.
func (o Options) noticeLong(text string) (stop func() bool) {
	return time.AfterFunc(noticeAfter, func() { o.Notice(text) }).Stop
}

// atMost appends a limit to the text of a notice.
func atMost(what string, limit time.Duration) string {
	return what + " (at most " + span(limit) + ")"
}

// span formats a duration without zero seconds and minutes: 15m, not 15m0s.
func span(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
