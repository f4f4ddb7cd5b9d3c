package cachixtest

import (
	"net/http"
	"strings"
	"testing"
)

func TestPublicSide(t *testing.T) {
	o := newObjectNamed("a")
	c := start(t, Options{})
	c.push(o)
	packed := string(zst(t, o.nar))
	nar := "nar/" + o.info(t, []byte(packed))["cFileHash"].(string) + ".nar.zst"
	for name, test := range map[string]struct {
		method, path, header string
		status               int
		body                 string
	}{
		"cache info":             {"GET", "nix-cache-info", "", 200, "StoreDir: /nix/store\nPriority: 41\nWantMassQuery: 1\n"},
		"cache info, HEAD":       {"HEAD", "nix-cache-info", "", 200, ""},
		"narinfo, HEAD":          {"HEAD", o.hash() + ".narinfo", "", 200, ""},
		"narinfo of another":     {"GET", newObjectNamed("b").hash() + ".narinfo", "", 404, "no such narinfo\n"},
		"another file":           {"GET", "index.html", "", 404, "not found\n"},
		"nar":                    {"GET", nar, "", 200, packed},
		"nar, HEAD":              {"HEAD", nar, "", 200, ""},
		"nar, range":             {"GET", nar, "bytes=2-5", 206, packed[2:6]},
		"nar, tail":              {"GET", nar, "bytes=-3", 206, packed[len(packed)-3:]},
		"nar, range out of it":   {"GET", nar, "bytes=100000-", 416, "invalid range: failed to overlap\n"},
		"nar of another":         {"GET", "nar/" + strings.Repeat("0", 64) + ".nar.zst", "", 404, "no such NAR\n"},
		"nar of another type":    {"GET", strings.TrimSuffix(nar, "zst") + "xz", "", 404, "no such NAR\n"},
		"put without a route":    {"PUT", nar, "", 404, "no such endpoint\n"},
		"delete without a route": {"DELETE", nar, "", 404, "no such endpoint\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), test.method, c.s.PublicURL()+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.header != "" {
				r.Header.Set("Range", test.header)
			}
			a := c.mustSend(r)
			if a.status != test.status || a.body != test.body {
				t.Errorf("status %d, want %d; body %q, want %q", a.status, test.status, a.body, test.body)
			}
			if test.method == "HEAD" && strings.HasPrefix(test.path, "nar/") && a.header.Get("Content-Length") != decimal(int64(len(packed))) {
				t.Errorf("length is %s, want %d", a.header.Get("Content-Length"), len(packed))
			}
		})
	}
}

func TestPrivate(t *testing.T) {
	o := newObjectNamed("a")
	c := start(t, Options{Private: true})
	c.push(o)
	for _, path := range []string{"nix-cache-info", o.hash() + ".narinfo", "nar/" + o.info(t, zst(t, o.nar))["cFileHash"].(string) + ".nar.zst"} {
		for password, want := range map[string]int{"": 401, "wrong": 401, TestToken: 200} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.s.PublicURL()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if password != "" {
				r.SetBasicAuth("", password)
			}
			if a := c.mustSend(r); a.status != want || want == 401 && a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with password %q: status %d, want %d", path, password, a.status, want)
			}
		}
	}
	c.noProblems()
}

func TestCorruptsAndForgets(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		o := newObjectNamed("a")
		c := start(t, Options{Dir: dir})
		c.push(o)
		packed := zst(t, o.nar)
		nar := "nar/" + o.info(t, packed)["cFileHash"].(string) + ".nar.zst"
		c.s.Corrupt(o.hash())
		got := c.get(nar).body
		differ := 0
		for i := range got {
			if got[i] != packed[i] {
				differ++
			}
		}
		if len(got) != len(packed) || differ != 1 {
			t.Errorf("%d bytes differ, of %d; there were %d", differ, len(got), len(packed))
		}
		c.s.Forget(o.hash())
		for _, path := range []string{nar, o.hash() + ".narinfo"} {
			if a := c.get(path); a.status != 404 {
				t.Errorf("%s: status %d", path, a.status)
			}
		}
		c.s.Corrupt(o.hash()) // a missing path
		c.push(o)
		if len(c.s.Paths()) != 1 {
			t.Error("a removed path cannot be pushed again")
		}
	}
}

func TestTrusting(t *testing.T) {
	o := newObjectNamed("a")
	c := start(t, Options{Trusting: true})
	u, b := c.upload(o, "zst", []byte("no zstd at all"), 100)
	c.api(200, "POST", u.path("/complete"), b.String())
	nar := "nar/" + b.info()["cFileHash"].(string) + ".nar.zst"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, c.s.PublicURL()+nar, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.mustSend(r); a.status != 200 || a.header.Get("Content-Length") != "14" {
		t.Errorf("HEAD: %d, %s", a.status, a.header.Get("Content-Length"))
	}
	if a := c.get(nar); a.status != 410 || a.body != errNotKept.Error()+"\n" {
		t.Errorf("GET: %d %s", a.status, a.body)
	}
	c.noProblems()
}
