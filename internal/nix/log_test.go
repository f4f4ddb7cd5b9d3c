package nix

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// buildLogLines are in the form of [parseBuildLogLine], or nearly.
var buildLogLines = []string{
	`{"action":"result","fields":["checking"],"id":42,"type":101}`,
	`{"action":"result","fields":[""],"id":0,"type":101}`,
	`{"action":"result","fields":["größer"],"id":18446744073709551615,"type":101}`,
	`{"action":"result","fields":["a \"quoted\" word\ttab"],"id":42,"type":101}`,
	`{"action":"result","fields":["ends with \\"],"id":42,"type":101}`,
	`{"action":"result","fields":["x\"],\"id\":1,\"type\":101}"],"id":42,"type":101}`,
	`{"action":"result","fields":["x"],"id":1,"type":101}"],"id":42,"type":101}`,
	"{\"action\":\"result\",\"fields\":[\"\xff\"],\"id\":42,\"type\":101}",
	"{\"action\":\"result\",\"fields\":[\"a\tb\"],\"id\":42,\"type\":101}",
	`{"action":"result","fields":["x"],"id":042,"type":101}`,
	`{"action":"result","fields":["x"],"id":-1,"type":101}`,
	`{"action":"result","fields":["x"],"id":1e3,"type":101}`,
	`{"action":"result","fields":["x"],"id":18446744073709551616,"type":101}`,
	`{"action":"result","fields":["x"],"id":,"type":101}`,
	`{"action":"result","fields":["x","y"],"id":42,"type":101}`,
	`{"action":"result","fields":["x"],"id":42,"type":104}`,
	`{"action":"result","fields":["x"],"id":42,"level":1,"type":101}`,
}

func FuzzParseBuildLogLine(f *testing.F) {
	for _, line := range buildLogLines {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, ok := parseBuildLogLine(data)
		if !ok {
			return
		}
		slow, ok := parseAnyEntry(data)
		if !ok {
			t.Fatalf("parseBuildLogLine(%q) = %+v, and encoding/json refuses it", data, fast)
		}
		if diff := cmp.Diff(slow, fast); diff != "" {
			t.Errorf("parseBuildLogLine(%q) (-encoding/json +got):\n%s", data, diff)
		}
	})
}

func TestPlainBuildLogLinesAreFast(t *testing.T) {
	for i, line := range buildLogLines {
		if _, ok := parseBuildLogLine([]byte(line)); ok != (i < 3) {
			t.Errorf("parseBuildLogLine(%s): %t", line, ok)
		}
	}
}

func BenchmarkParseLogEntry(b *testing.B) {
	line := []byte(`@nix {"action":"result","fields":["` + strings.Repeat("x", 63) + `"],"id":42,"type":101}`)
	b.Run("fast", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			ParseLogEntry(line)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			parseAnyEntry(line[len(logPrefix):])
		}
	})
}
