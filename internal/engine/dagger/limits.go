package dagger

import (
	"strconv"
	"strings"
	"time"
)

// limits bound each wait for an engine. A wait also ends with the context of the run, and when the session is lost.
// docs/operations.md lists them.
type limits struct {
	// answer bounds a connection to an engine that runs, and each query that moves no data.
	answer time.Duration
	// provision bounds the start of an engine by a container runtime, which may pull its image, and the download of the
	// Dagger client.
	provision time.Duration
	// transfer bounds loading the Nix image and uploading a directory.
	transfer time.Duration
	// start bounds the time from the request for a command's container until it reports.
	start time.Duration
	// silence bounds the time without an answer of the engine or a report of a command. There are several queries and
	// reports in this time: see pulses.
	silence time.Duration
}

var defaultLimits = limits{
	answer:    time.Minute,
	provision: 15 * time.Minute,
	transfer:  30 * time.Minute,
	start:     5 * time.Minute,
	silence:   2 * time.Minute,
}

// Limits of operations that normally end immediately.
const (
	// pulses is the number of queries in limits.silence. Pulses are counted, so that the time does not count in which this
	// process is stopped.
	pulses = 12
	// dialTimeout is generous for a network that works.
	dialTimeout = 3 * time.Second
	// runtimeTimeout is how long a container runtime may take to answer. It never answers if its daemon hangs.
	runtimeTimeout = 5 * time.Second
	// stateInterval is the time between two queries for the state of the engine's container, until the engine answers.
	stateInterval = time.Second
	// greetingTimeout is how long a connection may take to name its command.
	greetingTimeout = 30 * time.Second
	// stopTimeout is how long Nix may take to end its builders and remove their directories.
	stopTimeout = 3 * time.Second
	// endTimeout is how long the engine may take to notice that a container has ended.
	endTimeout = 5 * time.Second
	// closeTimeout is how long the Dagger client may take to end, after each signal. It ends its session with the engine,
	// which takes a tenth of a second, and hangs if the engine hangs.
	closeTimeout = 3 * time.Second
	// noticeAfter is the time after which a notice says what the program waits for.
	noticeAfter = 2 * time.Second
)

// noticeLong calls Notice with a text, if there is one, unless the returned function is called soon.
func (o Options) noticeLong(text string) (stop func() bool) {
	return time.AfterFunc(noticeAfter, func() {
		if o.Notice != nil {
			o.Notice(text)
		}
	}).Stop
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

// memlock is the limit as ulimit takes it.
func (x *Executor) memlock() string {
	switch n := x.options.Memlock; {
	case n < 0:
		return "unlimited"
	case n > 0:
		return strconv.FormatInt(n>>10, 10)
	}
	return ""
}
