package report_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// attacks are texts that a flake, a builder or a cache could put into any field of any event.
var attacks = map[string]string{
	"command":          "x\n::set-output name=manifest::evil\n  ::stop-commands::y",
	"command anywhere": "x ##[error]evil ##[group]x",
	"clipboard":        "x\x1b]52;c;ZXZpbA==\x07y",
	"title":            "x\x1b]0;evil\x1b\\y",
	"screen":           "x\x1b[2J\x1b[1;1Hevil\u009b2J",
	"overwriting":      "good\revil\bx",
	"direction":        "x\u202eevil\u2066\u200f\u061cy",
	"line separators":  "x\u2028::error::evil\u2029y\u0085::error::z",
	"invisible":        "x\u200b#\u2060#\u200b[error]\U000e0041\U000e007fy",
	"no UTF-8":         "x\xff\xfe\x9b31my",
}

// events are one of each kind, with the text in every field that takes one.
func events(text string) []run.Event {
	filled := []run.Event{}
	for _, e := range append([]run.Event{
		run.Planned{}, run.Fetched{}, run.Exported{}, run.Uploaded{}, run.Checked{}, run.DownloadsFailed{},
	}, hostile("")...) {
		v := reflect.New(reflect.TypeOf(e)).Elem()
		fill(v, text, 0)
		filled = append(filled, v.Interface().(run.Event))
	}
	return append(hostile(text), filled...)
}

// fill sets every string of a value to a text, and gives one element to every list and map.
func fill(v reflect.Value, text string, depth int) {
	if depth > 12 || !v.CanSet() {
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text, depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), text, depth+1)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), text, depth+1)
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, text, depth+1)
		fill(value, text, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	}
}

// ownCommands and ownSequences are those that the reporters themselves write.
var (
	ownCommands  = regexp.MustCompile(`(?m)^::(group|endgroup|error|warning|notice|add-mask)( (file|line)=[^:\n]*)?::`)
	ownSequences = regexp.MustCompile("\x1b\\[(0|1|2|3[1236])m|\x1b\\[\\?(25|2026)[hl]|\r?(\x1b\\[[0-9]+A)?\x1b\\[J")
)

// checkShown fails if a text has characters that a terminal interprets, that mislead a reader, or that are commands
// for GitHub's runner.
func checkShown(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
			t.Errorf("a command is shown: %q", line)
		}
		bad := func(r rune) bool {
			return r == utf8.RuneError || unicode.IsControl(r) && r != '\t' ||
				unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point)
		}
		if i := strings.IndexFunc(line, bad); i >= 0 {
			t.Errorf("%q is shown in %q", line[i:min(i+12, len(line))], line)
		}
	}
}

// All reporters clean every field of every event.
func TestEveryFieldOfEveryEventIsCleaned(t *testing.T) {
	reporters := map[string]func(w io.Writer) reporter{
		"lines":    func(w io.Writer) reporter { return report.NewLines(w, report.Options{Verbose: true}) },
		"coloured": func(w io.Writer) reporter { return report.NewLines(w, report.Options{Color: true}) },
		"actions":  func(w io.Writer) reporter { return report.NewActions(w, report.Options{Verbose: true}) },
		"terminal": func(w io.Writer) reporter { return report.NewTerminal(w, report.Options{Verbose: true, Color: true}) },
		"JSON":     func(w io.Writer) reporter { return report.NewJSON(w) },
	}
	for attack, text := range attacks {
		for name, open := range reporters {
			t.Run(name+"/"+attack, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var out shared
					r := open(&out)
					for _, e := range events(text) {
						r.Report(time.Now(), e)
						time.Sleep(200 * time.Millisecond) // which draws
					}
					time.Sleep(time.Minute) // which beats
					if err := r.Close(); err != nil {
						t.Fatal(err)
					}
					if out.String() == "" {
						t.Error("nothing is shown")
					}
					shown := out.String()
					switch name {
					case "actions":
						shown = ownCommands.ReplaceAllString(shown, "> ")
					case "terminal", "coloured":
						shown = ownSequences.ReplaceAllString(shown, "")
					}
					checkShown(t, shown)
				})
			})
		}
	}
}

// The files of a step and the table that a command prints are clean too.
func TestEveryFieldOfAManifestIsCleaned(t *testing.T) {
	for attack, text := range attacks {
		t.Run(attack, func(t *testing.T) {
			var m run.Manifest
			fill(reflect.ValueOf(&m).Elem(), text, 0)
			var table bytes.Buffer
			if err := report.Summary(&table, &m); err != nil {
				t.Fatal(err)
			}
			checkShown(t, table.String())

			step := newStep(t)
			_, summary := step.report(t, append(events(text), run.RunFinished{Manifest: &m, Path: "out/manifest.json"})...)
			// Our own signs have a variation selector. The runner does not look for commands there.
			checkShown(t, strings.NewReplacer("\ufe0f", "", "##[", "").Replace(summary))
			checkShown(t, ownCommands.ReplaceAllString(step.log.String(), "> "))

			var document bytes.Buffer
			if err := report.WriteJSON(&document, &m); err != nil {
				t.Fatal(err)
			}
			checkShown(t, document.String())
			var back struct{ Tool string }
			if err := json.Unmarshal(document.Bytes(), &back); err != nil {
				t.Error(err)
			}
			if utf8.ValidString(text) && back.Tool != text {
				t.Errorf("the document has %q, want %q", back.Tool, text)
			}
		})
	}
}
