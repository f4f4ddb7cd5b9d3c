package nix

import (
	"os"
	"slices"
	"testing"
)

// The files are the output of three versions of Nix, for a package "top" that refers to "dep", and a package "two" that
// needs "dep" and "un": "dep" and "top" are in a cache. They end with the message about an unknown path.

func TestParsePathInfoOfRealNix(t *testing.T) {
	for _, version := range []string{"2.8", "2.26", "2.34", "2.34-format-2"} {
		t.Run(version, func(t *testing.T) {
			infos, err := ParsePathInfo(printed(t, "path-info-nix-"+version+".json"))
			if err != nil {
				t.Fatal(err)
			}
			byName := map[string]PathInfo{}
			for _, info := range infos {
				byName[info.Path.Name()] = info
			}
			dep, top := byName["dep"], byName["top"]
			if len(infos) != 2 || dep.NARSize != 120 || top.NARSize != 160 || !dep.Ultimate {
				t.Fatalf("infos %+v, want dep of 120 bytes and top of 160, built here", infos)
			}
			if got, want := dep.NARHash.SRI(), "sha256-EFUdrtf6Rn0LWIJufrmg8q99aT3jGfLvd1//zaJEufY="; got != want {
				t.Errorf("hash of dep %s, want %s", got, want)
			}
			if top.Deriver.Name() != "top.drv" || !slices.Equal(top.References, []StorePath{dep.Path}) {
				t.Errorf("top %+v, want the deriver top.drv and a reference to %s", top, dep.Path)
			}
		})
	}
}

func TestParsePathInfoOfAMissingObject(t *testing.T) {
	for _, version := range []string{"2.8", "2.26", "2.34"} {
		if infos, err := ParsePathInfo(printed(t, "path-info-none-nix-"+version+".json")); err != nil || len(infos) != 0 {
			t.Errorf("Nix %s: %v, %v, want no objects", version, infos, err)
		}
	}
}

func TestParseDryRunOfRealNix(t *testing.T) {
	for _, version := range []string{"2.8", "2.26", "2.34"} {
		t.Run(version, func(t *testing.T) {
			d := ParseDryRun(string(printed(t, "dry-run-nix-"+version+".txt")))
			for _, list := range []struct {
				what  string
				paths []StorePath
				want  []string
			}{
				{"build", d.Build, []string{"un.drv", "two.drv"}},
				{"fetch", d.Fetch, []string{"dep", "top"}},
				{"unknown", d.Unknown, []string{"none"}},
			} {
				var names []string
				for _, p := range list.paths {
					names = append(names, p.Name())
				}
				if !slices.Equal(names, list.want) {
					t.Errorf("%s %q, want %q", list.what, names, list.want)
				}
			}
			// Versions up to 2.29 print MiB with two digits, which are 0.00 here.
			if version == "2.34" && d.DownloadBytes != 307 {
				t.Errorf("download %d bytes, want 307 (0.3 KiB)", d.DownloadBytes)
			}
		})
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	for text, supported := range map[string]bool{"2.3.16": false, "2.7.0": false, "2.8.0": true, "2.34.8": true, "3.0.0": true} {
		v, err := ParseVersion("nix (Nix) " + text)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Supported(); (err == nil) != supported {
			t.Errorf("Nix %s: %v, supported %t", text, err, supported)
		}
	}
}

func printed(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
