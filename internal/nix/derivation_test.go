package nix

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	fetchDrv   = "py4vc3xg16b7szcvw6miqa26r35sd2jy-src.tar.gz.drv"
	fetchOut   = "2y4n9kjmaim3knfqm3l4kyjq4i7ajnrv-src.tar.gz"
	missingDrv = "68g47wwnsknifx94i515y52n61lccysn-missing.drv"
	missingBin = "qqw6jlsg4ss7pk6kxxfh6fl8jlsm5q91-missing-bin"
	missingOut = "hvbcny7f1y3xqjwghirdvs4005ir2lrw-missing"
)

func TestParseDerivations(t *testing.T) {
	const dir = "/nix/store/"
	for version, data := range map[string]string{
		"2.8": `{"` + dir + fetchDrv + `":{"outputs":{"out":{"path":"` + dir + fetchOut + `","hashAlgo":"sha256","hash":"1fed51"}},"env":{"out":"x"}},
			"` + dir + missingDrv + `":{"outputs":{"bin":{"path":"` + dir + missingBin + `"},"out":{"path":"` + dir + missingOut + `"}}}}`,
		"2.34": `{"derivations":{"` + fetchDrv + `":{"env":{"out":"` + dir + fetchOut + `"},"outputs":{"out":{"hash":"sha256-H+1R","method":"flat"}}},
			"` + missingDrv + `":{"env":{},"outputs":{"bin":{"path":"` + missingBin + `"},"out":{"path":"` + missingOut + `"}}}},"version":4}`,
	} {
		t.Run(version, func(t *testing.T) {
			got, err := ParseDerivations([]byte(data))
			if err != nil {
				t.Fatal(err)
			}
			want := map[StorePath]Derivation{
				dir + fetchDrv:   {Outputs: []StorePath{dir + fetchOut}, Fixed: true},
				dir + missingDrv: {Outputs: []StorePath{dir + missingOut, dir + missingBin}},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("derivations (-want +got):\n%s", diff)
			}
		})
	}
	if got, err := ParseDerivations([]byte(`{"` + missingDrv + `":{"outputs":{"out":{}}}}`)); err != nil || len(got) != 1 || len(got[dir+missingDrv].Outputs) != 0 {
		t.Errorf("an output without a path: %v, %v, want none", got, err)
	}
	if _, err := ParseDerivations([]byte("no JSON")); err == nil {
		t.Error("no JSON: want an error")
	}
}
