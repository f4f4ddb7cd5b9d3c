package cachixtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// set changes a field of narInfoCreate, or removes it if there is no value.
func set(field string, value ...any) func(body) {
	return func(b body) {
		delete(b.info(), field)
		if len(value) > 0 {
			b.info()[field] = value[0]
		}
	}
}

// edit changes the text of a field.
func edit(field string, change func(string) string) func(body) {
	return func(b body) { b.info()[field] = change(b.info()[field].(string)) }
}

func setPart(i int, field string, value any) func(body) {
	return func(b body) { b.parts()[i][field] = value }
}

// If a field is invalid, the path does not become visible, and the upload can be aborted.
func TestRefusesCompletion(t *testing.T) {
	const minPart = 1000
	o := newObjectNamed("a", newObjectNamed("a").path)
	random := make([]byte, 3*minPart)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random)
	o.nar = random
	other, there := newObjectNamed("other").path, newObjectNamed("there")

	for name, test := range map[string]struct {
		change func(body)
		text   string
	}{
		"an unknown field":           {set("cCA", "x"), "unknown field cCA"},
		"an unknown field outside":   {func(b body) { b["x"] = 1 }, "unknown field x"},
		"no parts":                   {func(b body) { delete(b, "parts") }, "parts is missing"},
		"parts that are null":        {func(b body) { b["parts"] = nil }, "parts is null"},
		"a number for a string":      {set("cStoreHash", 1), "cStoreHash"},
		"a fraction for a size":      {set("cNarSize", 1.5), "cNarSize"},
		"a string for a size":        {set("cNarSize", "3000"), "cNarSize"},
		"a NAR of no bytes":          {set("cNarSize", 0), "more than nothing"},
		"null for references":        {set("cReferences", nil), "cReferences is null"},
		"null for a deriver":         {set("cDeriver", nil), "cDeriver is null"},
		"a short store hash":         {edit("cStoreHash", func(s string) string { return s[1:] }), "cStoreHash"},
		"a store path as the hash":   {edit("cStoreHash", func(s string) string { return "/nix/store/" + s }), "cStoreHash"},
		"a suffix with its dash":     {set("cStoreSuffix", ""), "cStoreSuffix"},
		"a suffix of a file":         {set("cStoreSuffix", "a/bin"), "cStoreSuffix"},
		"a suffix that leads away":   {set("cStoreSuffix", "a/../a"), "cStoreSuffix"},
		"a suffix of two dots":       {set("cStoreSuffix", ".."), "cStoreSuffix"},
		"a suffix with ~":            {set("cStoreSuffix", "a~"), "cStoreSuffix"},
		"a suffix of 212 characters": {set("cStoreSuffix", strings.Repeat("a", 212)), "cStoreSuffix"},
		"a bare NAR hash":            {edit("cNarHash", func(s string) string { return strings.TrimPrefix(s, "sha256:") }), "cNarHash"},
		"a NAR hash in hex":          {set("cNarHash", "sha256:"+strings.Repeat("0", 64)), "cNarHash"},
		"a NAR hash in SRI":          {set("cNarHash", "sha256-"+base64.StdEncoding.EncodeToString(make([]byte, 32))), "cNarHash"},
		"a file hash with sha256:":   {edit("cFileHash", func(s string) string { return "sha256:" + s }), "cFileHash"},
		"a file hash in capitals":    {set("cFileHash", strings.Repeat("AB", 32)), "cFileHash"},
		"a file hash in base 32":     {set("cFileHash", strings.Repeat("0", 52)), "cFileHash"},
		"absolute references":        {set("cReferences", []string{"/nix/store/" + o.path}), "cReferences"},
		"references out of order":    {set("cReferences", []string{"1" + o.path[1:], "0" + o.path[1:]}), "not sorted"},
		"a reference twice":          {set("cReferences", []string{o.path, o.path}), "not sorted, or twice"},
		"an absolute deriver":        {set("cDeriver", "/nix/store/"+o.path+".drv"), "cDeriver"},
		"an invalid deriver":         {set("cDeriver", o.path), "cDeriver"},
		"an empty deriver":           {set("cDeriver", ""), "cDeriver"},
		"no deriver":                 {set("cDeriver"), "cDeriver is missing"},
		"no signature field":         {set("cSig"), "cSig is missing"},
		"a signature with its key":   {set("cSig", "c:"+base64.StdEncoding.EncodeToString(make([]byte, 64))), "cSig"},
		"a short signature":          {set("cSig", base64.StdEncoding.EncodeToString(make([]byte, 63))), "cSig"},
		"a signature in two lines":   {set("cSig", base64.StdEncoding.EncodeToString(make([]byte, 64))[:64]+"\n"+base64.StdEncoding.EncodeToString(make([]byte, 64))[64:]), "cSig is"},
		"a signature for URLs":       {set("cSig", base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 64))), "cSig is"},
		"a wrong signature":          {set("cSig", base64.StdEncoding.EncodeToString(make([]byte, 64))), "Signature verification failed."},

		"a part number as a string": {setPart(0, "partNumber", "1"), "partNumber"},
		"a part of another name":    {setPart(0, "etag", "x"), "unknown field etag"},
		"an ETag without quotes":    {setPart(0, "eTag", strings.Repeat("0", 32)), "InvalidPart"},
		"an ETag of another part":   {func(b body) { b.parts()[0]["eTag"] = b.parts()[1]["eTag"] }, "InvalidPart"},
		"parts in another order":    {func(b body) { slices.Reverse(b.parts()) }, "InvalidPartOrder"},
		"a part left out":           {func(b body) { b["parts"] = b.parts()[1:] }, "InvalidPart"},
		"a part too many":           {func(b body) { b["parts"] = append(b.parts(), map[string]any{"partNumber": 9, "eTag": `""`}) }, "InvalidPart"},

		"another file size":             {set("cFileSize", 1), "cFileSize is 1"},
		"another file hash":             {set("cFileHash", strings.Repeat("0", 64)), "the hash of its file is"},
		"a NAR size that is too small":  {set("cNarSize", 2999), "its NAR has more than"},
		"a NAR size that is too large":  {set("cNarSize", 3001), "has 3000 bytes"},
		"another NAR hash":              {set("cNarHash", "sha256:"+strings.Repeat("0", 52)), "the hash of its NAR is"},
		"a reference that is not there": {set("cReferences", []string{other}), "reference " + other + " is not there"},
		"a reference to another self":   {set("cStoreSuffix", "b"), "is not there"},
		"a reference by another name":   {set("cReferences", []string{there.path + "-2"}), "is not there"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Options{MinPart: minPart})
			c.push(there)
			u, b := c.upload(o, "zst", zst(t, o.nar), minPart)
			test.change(b)
			a := c.mustSend(c.request("POST", u.path("/complete"), b.String()))
			if a.status != 400 || !strings.Contains(a.body, test.text) {
				t.Errorf("status %d, want 400 with %q: %s", a.status, test.text, a.body)
			}
			if problems := c.s.Problems(); len(problems) != 1 {
				t.Errorf("problems are %q, want one", problems)
			}
			if paths := c.s.Paths(); len(paths) != 1 { // the one from before
				t.Errorf("paths %q can be seen", paths)
			}
			c.api(200, "POST", u.path("/abort"), "")
		})
	}
}

func TestRefusesSizesOfParts(t *testing.T) {
	for name, test := range map[string]struct {
		sizes []int
		text  string
	}{
		"equal":                {[]int{1000, 1000, 1000}, ""},
		"a small last":         {[]int{1000, 1}, ""},
		"a small only":         {[]int{1}, ""},
		"a small one":          {[]int{999, 999}, "EntityTooSmall"},
		"a larger one":         {[]int{1000, 1001, 1}, "same length"},
		"a larger last":        {[]int{1000, 1001}, "same length"},
		"a smaller in between": {[]int{1002, 1001, 1}, "same length"},
	} {
		t.Run(name, func(t *testing.T) {
			// The bytes, which are not zstd, were not read.
			c := start(t, Options{MinPart: 1000, Trusting: true})
			u, o := c.create("zst"), newObjectNamed("a")
			var packed []byte
			var parts []map[string]any
			for i, size := range test.sizes {
				data := bytes.Repeat([]byte{byte(i)}, size)
				parts = append(parts, map[string]any{"partNumber": i + 1, "eTag": c.put(u, i+1, data)})
				packed = append(packed, data...)
			}
			a := c.mustSend(c.request("POST", u.path("/complete"), body{"parts": parts, "narInfoCreate": o.info(t, packed)}.String()))
			if (a.status == 200) != (test.text == "") || !strings.Contains(a.body, test.text) {
				t.Errorf("status %d, want %q: %s", a.status, test.text, a.body)
			}
		})
	}
}

// By default, the minimum size of parts is that of S3.
func TestLeastPartIsThatOfS3(t *testing.T) {
	const least = 5 << 20
	for size, want := range map[int]int{least: 200, least - 1: 400} {
		c := start(t, Options{Trusting: true})
		u, b := c.upload(newObjectNamed("a"), "zst", make([]byte, size+1), size)
		if a := c.api(want, "POST", u.path("/complete"), b.String()); want != 200 && !strings.Contains(a.body, "EntityTooSmall") {
			t.Errorf("%d bytes: %s", size, a.body)
		}
	}
}

func TestCompletesOnce(t *testing.T) {
	o := newObjectNamed("a")
	c := start(t, Options{})
	packed := zst(t, o.nar)
	u, b := c.upload(o, "zst", packed, len(packed))

	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { c.mustSend(c.request("POST", u.path("/complete"), b.String())) })
	}
	group.Wait()
	for _, r := range c.s.Requests() {
		if r.Status != 200 {
			t.Errorf("%v", r)
		}
	}
	text, _ := c.s.NARInfo(o.hash())

	// The same path again, by another client whose file differs.
	twice := append(zst(t, o.nar[:10]), zst(t, o.nar[10:])...)
	second, again := c.upload(o, "zst", twice, len(twice))
	c.api(200, "POST", second.path("/complete"), again.String())
	if now, _ := c.s.NARInfo(o.hash()); now != text {
		t.Errorf("narinfo was\n%s\nis\n%s", text, now)
	}
	c.noProblems()

	b.info()["cDeriver"] = o.path + ".drv"
	c.api(409, "POST", u.path("/complete"), b.String())
	o.nar = []byte("another build of it")
	packed = zst(t, o.nar)
	third, b := c.upload(o, "zst", packed, len(packed))
	c.api(409, "POST", third.path("/complete"), b.String())
	if problems := c.s.Problems(); len(problems) != 2 {
		t.Errorf("problems are %q", problems)
	}
}

func TestUnpacksFramesAndStreams(t *testing.T) {
	o := newObjectNamed("a")
	for name, test := range map[string]struct {
		compression string
		packed      []byte
		want        int
	}{
		"zstd, three frames": {"zst", slices.Concat(zst(t, o.nar[:1]), zst(t, o.nar[1:9]), zst(t, o.nar[9:])), 200},
		"xz":                 {"xz", xzStream(t, o.nar), 200},
		"xz, two streams":    {"xz", append(xzStream(t, o.nar[:9]), xzStream(t, o.nar[9:])...), 200},
		"zstd called xz":     {"xz", zst(t, o.nar), 400},
		"xz called zstd":     {"zst", xzStream(t, o.nar), 400},
		"a tail":             {"zst", append(zst(t, o.nar), 0), 400},
		"an end too early":   {"zst", zst(t, o.nar)[:20], 400},
	} {
		for _, dir := range []string{"", t.TempDir()} {
			t.Run(fmt.Sprintf("%s/files=%t", name, dir != ""), func(t *testing.T) {
				c := start(t, Options{Dir: dir, MinPart: 10})
				u, b := c.upload(o, test.compression, test.packed, 50)
				c.api(test.want, "POST", u.path("/complete"), b.String())
				if test.want != 200 {
					return
				}
				got := c.get("nar/" + b.info()["cFileHash"].(string) + ".nar." + test.compression)
				if got.body != string(test.packed) {
					t.Errorf("NAR of status %d differs from the pushed one", got.status)
				}
			})
		}
	}
}

// A path becomes visible only after its references.
func TestReferences(t *testing.T) {
	leaf, upstream := newObjectNamed("leaf"), newObjectNamed("upstream")
	top := newObjectNamed("top", leaf.path, upstream.path, newObjectNamed("top").path)
	c := start(t, Options{Upstream: func(hash string) bool { return hash == upstream.hash() }})
	packed := zst(t, top.nar)
	u, b := c.upload(top, "zst", packed, len(packed))
	c.api(400, "POST", u.path("/complete"), b.String())
	if problems := c.s.Problems(); len(problems) != 1 {
		t.Errorf("problems are %q", problems)
	}
	c.s.Reset()
	c.push(leaf)
	c.api(200, "POST", u.path("/complete"), b.String())
	c.noProblems()
	want := []string{"/nix/store/" + leaf.path, "/nix/store/" + top.path}
	slices.Sort(want)
	if got := c.s.Paths(); !slices.Equal(got, want) {
		t.Errorf("paths are %q, want %q", got, want)
	}

	// Garbage collection between a query and a completion is no error of the client.
	c.s.Forget(leaf.hash())
	user := newObjectNamed("user", leaf.path)
	packed = zst(t, user.nar)
	u, b = c.upload(user, "zst", packed, len(packed))
	if a := c.api(400, "POST", u.path("/complete"), b.String()); !strings.Contains(a.body, "not there any more") {
		t.Error(a.body)
	}
	c.noProblems()
}

func TestNARInfoText(t *testing.T) {
	o := newObjectNamed("a")
	c := start(t, Options{Name: "c"})
	c.push(o)
	got, ok := c.s.NARInfo(o.hash())
	file := o.info(t, zst(t, o.nar))
	want := fmt.Sprintf(`StorePath: /nix/store/%s
URL: nar/%s.nar.zst
Compression: zstd
FileHash: sha256:%[2]s
FileSize: %d
NarHash: %s
NarSize: %d
References: 
Deriver: unknown-deriver
Sig: c.cachix.org-1:`, o.path, file["cFileHash"], file["cFileSize"], file["cNarHash"], file["cNarSize"])
	if !ok || !strings.HasPrefix(got, want) {
		t.Errorf("narinfo is\n%s\nwant\n%s…", got, want)
	}
	if served := c.get(o.hash() + ".narinfo"); served.status != 200 || served.body != got {
		t.Errorf("served is %d\n%s", served.status, served.body)
	}
}
