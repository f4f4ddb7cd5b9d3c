package nix

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const completeNARInfo = `StorePath: /nix/store/00000000000000000000000000000001-a
URL: nar/x.nar.zst
Compression: zstd
FileHash: sha256:1111111111111111111111111111111111111111111111111111
FileSize: 3
NarHash: sha256:1111111111111111111111111111111111111111111111111111
NarSize: 7
References: 00000000000000000000000000000001-a 00000000000000000000000000000002-b
Deriver: unknown-deriver
`

// TestTruncatedNARInfo truncates a narinfo after each of its bytes.
func TestTruncatedNARInfo(t *testing.T) {
	whole, err := ParseNARInfo([]byte(completeNARInfo))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(completeNARInfo) {
		info, err := ParseNARInfo([]byte(completeNARInfo[:n]))
		if err == nil && cmp.Diff(whole, info) != "" {
			t.Errorf("the first %d bytes pass for a narinfo:\n%s", n, completeNARInfo[:n])
		}
	}
}

func TestNARInfoWithoutAField(t *testing.T) {
	for _, name := range required {
		lines := strings.SplitAfter(completeNARInfo, "\n")
		var without strings.Builder
		for _, line := range lines {
			if !strings.HasPrefix(line, name+":") {
				without.WriteString(line)
			}
		}
		if _, err := ParseNARInfo([]byte(without.String())); err == nil || !strings.Contains(err.Error(), "no field "+name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

func TestFormatNARInfo(t *testing.T) {
	for _, references := range []string{"References: 00000000000000000000000000000002-b\n", "References: \n"} {
		info, err := ParseNARInfo([]byte(strings.Replace(completeNARInfo,
			"References: 00000000000000000000000000000001-a 00000000000000000000000000000002-b\n", references, 1)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := FormatNARInfo(info)
		if err != nil || !strings.Contains(string(text), "\nNarSize: 7\n"+references) {
			t.Errorf("got %v\n%s", err, text)
		}
		again, err := ParseNARInfo(text)
		if err != nil {
			t.Error(err)
		} else if diff := cmp.Diff(info, again); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
