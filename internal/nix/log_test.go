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

// writeInPieces writes data as a pipe hands it over.
func writeInPieces(t *testing.T, w *LogWriter, data string) {
	t.Helper()
	for len(data) > 0 {
		n := min(len(data), 64<<10)
		if _, err := w.Write([]byte(data[:n])); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
}

func TestLogWriterKeepsLongLines(t *testing.T) {
	text := strings.Repeat("0123456789", 300_000)
	var got []LogEntry
	w := &LogWriter{Entry: func(e LogEntry) { got = append(got, e) }}
	writeInPieces(t, w, `@nix {"action":"result","fields":["`+text+`"],"id":7,"type":101}`+"\n")
	if len(got) != 1 || got[0].ID != 7 || got[0].String(0) != text {
		t.Fatalf("got %d entries, the first of %d bytes; want one line of %d bytes", len(got), len(got[0].String(0)), len(text))
	}
}

func TestLogWriterMarksCuts(t *testing.T) {
	for name, unit := range map[string]string{"plain": "0123456789", "escaped": `\"é\u001b`} {
		t.Run(name, func(t *testing.T) {
			text := strings.Repeat(unit, 300_000)
			var got []LogEntry
			w := &LogWriter{Entry: func(e LogEntry) { got = append(got, e) }, limit: 1 << 20}
			writeInPieces(t, w, `@nix {"action":"result","fields":["`+text+`"],"id":7,"type":101}`+"\n"+`@nix {"action":"stop","id":7}`+"\n")
			if len(got) != 2 || got[0].Type != ResultBuildLogLine || got[0].ID != 7 || got[1].Action != LogStop {
				t.Fatalf("got %d entries, the first %.100v; want a line of build 7, and its stop", len(got), got[0])
			}
			line := got[0].String(0)
			if !strings.Contains(line, " bytes of this line are left out]") {
				t.Errorf("line ends with %q, want a note about the missing bytes", line[len(line)-60:])
			}
			if len(line) < 1<<18 || len(line) > 1<<20+64 {
				t.Errorf("%d bytes are kept, want at most a MiB of the protocol", len(line))
			}
		})
	}
}

func TestErrorMessageOfTheProtocol(t *testing.T) {
	for name, test := range map[string]struct{ stderr, want string }{
		"its last error": {
			`id":1,"level":6,"text":"cut in front","type":0}` + "\n" +
				`@nix {"action":"msg","level":0,"msg":"\u001b[31;1merror:\u001b[0m first"}` + "\n" +
				`@nix {"action":"msg","level":0,"msg":"error: framed","raw_msg":"the last"}` + "\n" +
				`@nix {"action":"stop","id":1}` + "\n", "the last",
		},
		"an error in another format": {`@nix {"action":"stop","id":1}` + "\nerror: opening a connection\n", "opening a connection"},
		"only protocol":              {`@nix {"action":"start","id":1,"level":6,"text":"querying","type":0}` + "\n", ""},
		"a line that is cut":         {"@nix {\"action\":\"start\",\"id\":1,\n", ""},
		"no protocol":                {"error: plain\n", "plain"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ErrorMessage(test.stderr); got != test.want {
				t.Errorf("ErrorMessage = %q, want %q", got, test.want)
			}
		})
	}
}
