package hint

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestOfFindsEachHintOnceOutermostFirst(t *testing.T) {
	inner := Wrap(errors.New("cause"), "repair %s", "it")
	err := errors.Join(Wrap(fmt.Errorf("step: %w", inner), "first"), inner, errors.New("other"))
	if got, want := Of(err), []string{"first", "repair it"}; !slices.Equal(got, want) {
		t.Errorf("Of = %q, want %q", got, want)
	}
	if Wrap(nil, "advice") != nil || Of(nil) != nil {
		t.Error("no error has no hint")
	}
	if got := inner.Error(); got != "cause" {
		t.Errorf("message %q, want the cause alone", got)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"v1.0.0", "v1.14.2", "v2.0.0", "main"}
	for name, want := range map[string][]string{
		"v1.14.3": {"v1.14.2"},
		"v1.0.1":  {"v1.0.0", "v2.0.0"},
		"mian":    {"main"},
		"zzzzzzz": {},
		"":        {},
	} {
		got := Nearest(name, names, 2)
		if len(want) == 1 {
			got = got[:min(1, len(got))]
		}
		if !slices.Equal(got, want) {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
