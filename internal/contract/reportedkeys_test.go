package contract

import (
	"errors"
	"testing"
)

func TestReportedKeys(t *testing.T) {
	c := &Contract{NixConfig: &NixConfig{Keys: []string{"c-1:abc"}}}
	for name, test := range map[string]struct {
		reported []string
		err      error
		want     Status
	}{
		"the key":     {[]string{"old:x", "c-1:abc"}, nil, Pass},
		"another key": {[]string{"c-1:abd"}, nil, Fail},
		"no key":      {nil, nil, Fail},
		"no answer":   {nil, errors.New("no such host"), Skip},
	} {
		got := c.ReportedKeys(func() ([]string, error) { return test.reported, test.err })
		if len(got) != 1 || got[0].Status != test.want || (test.want != Pass) != (got[0].Reason != "") {
			t.Errorf("%s: %+v, want %s", name, got, test.want)
		}
	}
	asked := false
	got := new(Contract).ReportedKeys(func() ([]string, error) { asked = true; return nil, nil })
	if got != nil || asked {
		t.Errorf("a contract without nixConfig: %+v, asked %t", got, asked)
	}
}
