package regular

import (
	"strings"
	"testing"
)

func TestUnmarshalJSONIsBounded(t *testing.T) {
	var v any
	for _, text := range []string{
		`[` + strings.Repeat(`{},`, maxValues) + `{}]`,
		`{"a":` + strings.Repeat(`[`, maxValues) + strings.Repeat(`]`, maxValues) + `}`,
		`{` + strings.Repeat(`"\"":1,`, maxValues) + `"a":1}`,
	} {
		if err := UnmarshalJSON([]byte(text), &v); err == nil || !strings.Contains(err.Error(), "more than 262144 values") {
			t.Errorf("%.20s…: %v", text, err)
		}
	}
	// Characters in a string do not count.
	text := `["` + strings.Repeat(`,{[\"`, maxValues) + `", "\\"]`
	if err := UnmarshalJSON([]byte(text), &v); err != nil {
		t.Errorf("%.20s…: %v", text, err)
	}
	if err := UnmarshalJSON([]byte(`{"a": 1`), &v); err == nil {
		t.Error("a text that was cut off is taken")
	}
}
