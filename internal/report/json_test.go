package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/report"
	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	reportAll(t, report.NewJSON(&out), recorded())
	golden(t, "run.jsonl", out.Bytes())
}

func TestJSONKeepsTextAndEscapesIt(t *testing.T) {
	const text = "\x1b[31mred\u009b2J ##[add-mask]x <&>\tend\x7f"
	var out bytes.Buffer
	report.NewJSON(&out).Report(time.Now(), run.BuildLine{System: x86, Derivation: openssl, Text: text})
	for _, bad := range []string{"\x1b", "\u009b", "\x7f", "##["} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q is in %q", bad, out.String())
		}
	}
	var got struct{ Event, Text string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Event != "build-line" || got.Text != text {
		t.Errorf("got %+v, want the text %q", got, text)
	}
}

func TestJSONIsConcurrent(t *testing.T) {
	var out bytes.Buffer
	j := report.NewJSON(&out)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				j.Report(time.Now(), run.StepStarted{Step: run.StepPlan})
			}
		})
	}
	wg.Wait()
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		if n++; !json.Valid(line) {
			t.Fatalf("line %d is not JSON: %s", n, line)
		}
	}
	if n != 800 {
		t.Errorf("%d lines, want 800", n)
	}
}

func TestJSONRemembersWriteError(t *testing.T) {
	w := &broken{takes: 1}
	j := report.NewJSON(w)
	for range 3 {
		j.Report(time.Now(), run.StepStarted{Step: run.StepPlan})
	}
	if err := j.Close(); !errors.Is(err, os.ErrClosed) || !strings.HasPrefix(err.Error(), "write event step-started: ") {
		t.Errorf("error is %v", err)
	}
	if n := strings.Count(w.String(), "\n"); n != 1 {
		t.Errorf("%d lines, want 1", n)
	}
}

func TestJSONContinuesAfterAnEncodingError(t *testing.T) {
	var out bytes.Buffer
	j := report.NewJSON(&out)
	j.Report(time.Now(), run.Planned{Plan: run.Plan{Build: []nix.StorePath{""}}}) // an empty store path has no text
	j.Report(time.Now(), run.StepStarted{Step: run.StepPlan})
	if j.Close() == nil || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("error %v, output %q", j.Close(), out.String())
	}
}

func TestMulti(t *testing.T) {
	var a, b bytes.Buffer
	report.Multi{report.NewJSON(&a), report.NewJSON(&b)}.Report(time.Now(), run.RunFinished{})
	if a.Len() == 0 || a.String() != b.String() {
		t.Errorf("got %q and %q", a.String(), b.String())
	}
}
