package flake

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSelfAttributes(t *testing.T) {
	for flake, want := range map[string]string{
		`{ inputs.self.submodules = true; outputs = _: { }; }`:               "submodules",
		`{ inputs = { self.submodules = true; nixpkgs.url = "x"; }; }`:       "submodules",
		`{ inputs = { self = { lfs = true; submodules = true; }; }; }`:       "lfs submodules",
		`{ inputs."self"."submodules" = true; }`:                             "submodules",
		"# {\n/* } */ rec {\n  inputs.self.submodules = # yes\n    true;\n}": "submodules",
		"\ufeff": "",
		`{ outputs = { self }: let a = "}"; in { b = a; }; inputs.self.lfs = true; }`:      "lfs",
		`{ outputs = x: with x; assert true; y; inputs.self.lfs = true; }`:                 "lfs",
		`{ description = "a ${"}"} b \" ;"; inputs.self.lfs = true; }`:                     "lfs",
		"{ x = ''a ''' '' + '' ''${ ''\\n ${ { a = 1; }.b } ''; inputs.self.lfs = true; }": "lfs",
		`{ inputs = { }; inputs.self.lfs = true; }`:                                        "lfs",
		// Nix ignores these.
		`{ inputs.self.submodules = false; }`:                                                                          "",
		`{ inputs.dep.submodules = true; inputs.dep = { type = "git"; submodules = true; }; }`:                         "",
		`{ outputs = { self }: { inputs.self.submodules = true; }; }`:                                                  "",
		`{ nested.inputs.self.submodules = true; inputs.self.self.submodules = true; inputs.self = true; }`:            "",
		`{ # inputs.self.submodules = true;` + "\n" + `/* inputs.self.lfs = true; */ d = "inputs.self.lfs = true;"; }`: "",
		`{ inputs.self.submodules = true && false; }`:                                                                  "",
		`x: { inputs.self.submodules = true; }`:                                                                        "",
		`{ inputs.self.submodules = "true"; inherit (x) a; }`:                                                          "",
		``: "", `{`: "", `{ inputs`: "", `{ inputs.self = {`: "", `{ a = "${`: "", `{ a = ''`: "", `}`: "", `{ a = ); b`: "",
	} {
		got := strings.Join(slices.Sorted(maps.Keys(selfAttributes(flake))), " ")
		if got != want {
			t.Errorf("%s\nhas %q, want %q", flake, got, want)
		}
	}
}

// A flake that requests its submodules is the same tree, with or without submodules in the reference.
func TestFlakeRequestsSubmodules(t *testing.T) {
	t.Parallel()
	r, files := nested(t)
	const asks = "{ inputs.self.submodules = true; outputs = _: { }; }\n"
	r.write(map[string]string{"flake.nix": asks})
	r.commit()
	files["flake.nix"] = asks
	server := server(t, filepath.Dir(r.dir), "").URL
	for name, ref := range map[string]string{
		"checkout": r.dir, "commit of a checkout": r.dir + "?ref=main", "bare": r.dir + "/.git", "remote": server + "/" + filepath.Base(r.dir) + "/.git",
	} {
		t.Run(name, func(t *testing.T) {
			s := take(t, snapshotter(t, ref, r.env))
			wantFiles(t, s, files)
			if !strings.Contains(s.URL, "submodules=1") || s.Dirty {
				t.Errorf("URL is %s", s.URL)
			}
		})
	}
	t.Run("dirty", func(t *testing.T) {
		writeFiles(t, r.dir, map[string]string{"sub mod/o": "2"})
		files["sub mod/o"] = "2"
		s := take(t, snapshotter(t, r.dir, r.env))
		wantFiles(t, s, files)
		if !s.Dirty {
			t.Error("is not dirty")
		}
	})
	t.Run("path", func(t *testing.T) { // the attributes of the flake have no effect
		if got := readFiles(t, take(t, snapshotter(t, "path:"+r.dir, r.env)).Dir); got["sub mod/o"] != "2" {
			t.Errorf("files are %q", got)
		}
	})
}

func TestFlakeRequestsLFS(t *testing.T) {
	r := newFlake(t, nil)
	r.write(map[string]string{"flake.nix": "{ inputs.self.lfs = true; outputs = _: { }; }\n"})
	r.commit()
	takeFails(t, snapshotter(t, r.dir, r.env), "asks for files of Git LFS (inputs.self.lfs = true)", "leave inputs.self.lfs out")
}
