package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scopecreep-zip/open-sesame-ci/internal/run"
)

// The picture of README.md is drawn from the recording beside it, and is well-formed XML.
func TestPictureIsDrawnFromItsRecording(t *testing.T) {
	for _, tool := range []string{"bash", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	recording, err := os.Open("../docs/demo.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer recording.Close()
	draw := exec.CommandContext(t.Context(), "../.ci/picture", "draw")
	draw.Stdin = recording
	got, err := draw.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := readTest(t, "../docs/demo.svg")
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("draw docs/demo.svg afresh: .ci/picture draw <docs/demo.txt (-docs/demo.svg +drawn):\n%s", diff)
	}
	for d := xml.NewDecoder(strings.NewReader(want)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("docs/demo.svg: %v", err)
		}
	}
	if readme := readTest(t, "../README.md"); !strings.Contains(readme, "(docs/demo.svg)") {
		t.Error("README.md does not show docs/demo.svg")
	}
}

// The manual and README.md explain all steps in their order. The recorded run has all of them except pin, since it
// publishes nothing.
func TestStepsAreInManualREADMEAndPicture(t *testing.T) {
	recording, readme := readTest(t, "../docs/demo.txt"), readTest(t, "../README.md")
	var steps []string
	for _, step := range run.Steps {
		steps = append(steps, string(step))
		if step != "pin" && !strings.Contains(recording, " "+string(step)+" ") {
			t.Errorf("docs/demo.txt does not have the step %s: run .ci/picture", step)
		}
		if line := fmt.Sprintf("\n%d. **%s**: ", len(steps), step); !strings.Contains(readme, line) {
			t.Errorf("README.md does not explain the step %s: it has no line that begins with %q", step, line[1:])
		}
	}
	if diff := cmp.Diff(steps, manualSteps(t)); diff != "" {
		t.Errorf("the manual in root.go does not list the steps of a run (-run.Steps +manual):\n%s", diff)
	}
}

// manualSteps returns the names of the steps that the manual lists.
func manualSteps(t *testing.T) []string {
	t.Helper()
	_, list, found := strings.Cut(readTest(t, "root.go"), "\n  snapshot ")
	if !found {
		t.Fatal("root.go has no list of steps")
	}
	list, _, _ = strings.Cut(list, "\n\n")
	steps := []string{"snapshot"}
	for line := range strings.Lines(list) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "  "), " "); ok && name != "" && strings.HasPrefix(line, "  ") {
			steps = append(steps, name)
		}
	}
	return steps
}
