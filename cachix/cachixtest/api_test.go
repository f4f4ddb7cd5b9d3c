package cachixtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// All these requests are refused. Those that break a rule of the protocol are problems.
func TestRefusesRequests(t *testing.T) {
	hash := newObjectNamed("a").hash()
	list := `["` + hash + `"]`
	const md5 = `{"contentMD5":"1B2M2Y8AsgTpgAmY7PhCfg=="}`
	for name, test := range map[string]struct {
		options      Options
		method, path string
		body         string
		change       func(*http.Request)
		status       int
		text         string
		rightful     bool // no rule was broken
	}{
		"another cache":         {method: "GET", path: "/../other", status: 404, text: "no such endpoint"},
		"no Authorization":      {method: "POST", path: "/narinfo", body: list, change: without("Authorization"), status: 401, text: "not authorized"},
		"an empty token":        {method: "POST", path: "/narinfo", body: list, change: with("Authorization", "Bearer "), status: 401, text: "no token"},
		"another scheme":        {method: "POST", path: "/narinfo", body: list, change: with("Authorization", "Basic eDp5"), status: 401, text: "want Bearer"},
		"another token":         {method: "POST", path: "/narinfo", body: list, change: with("Authorization", "Bearer x"), status: 401, text: "doesn't exist or you're not authorized", rightful: true},
		"an expired token":      {method: "GET", change: with("Authorization", "Bearer "+ExpiredToken), status: 401, text: "has expired.", rightful: true},
		"a token that reads":    {options: Options{Permission: "Read"}, method: "POST", path: "/multipart-nar?compression=zst", status: 401, text: "may only read", rightful: true},
		"a private cache":       {options: Options{Private: true}, method: "GET", change: without("Authorization"), status: 401, text: "not authorized", rightful: true},
		"a pin without a token": {options: Options{SelfSigned: testKey(t).PublicKey().String(), NoToken: true}, method: "POST", path: "/pin", body: "{}", change: without("Authorization"), status: 401},
		"no Accept":             {method: "GET", change: without("Accept"), status: 406},
		"Accept of HTML":        {method: "GET", change: with("Accept", "text/html"), status: 406},
		"no Content-Type":       {method: "POST", path: "/narinfo", body: list, change: without("Content-Type"), status: 415},
		"a form":                {method: "POST", path: "/narinfo", body: list, change: with("Content-Type", "application/x-www-form-urlencoded"), status: 415},
		"another charset":       {method: "POST", path: "/narinfo", body: list, change: with("Content-Type", "application/json; charset=latin1"), status: 415},
		"another method":        {method: "PUT", path: "/narinfo", body: list, status: 404},
		"a slash too many":      {method: "POST", path: "//narinfo", body: list, status: 404},

		"hashes that are no array":  {method: "POST", path: "/narinfo", body: `{}`, status: 400, text: "not a JSON array"},
		"null for hashes":           {method: "POST", path: "/narinfo", body: `null`, status: 400, text: "not a JSON array"},
		"a store path for a hash":   {method: "POST", path: "/narinfo", body: `["/nix/store/` + hash + `-a"]`, status: 400, text: "no hash part"},
		"a hash in another base 32": {method: "POST", path: "/narinfo", body: `["` + strings.Repeat("e", 32) + `"]`, status: 400, text: "no hash part"},
		"too many hashes":           {method: "POST", path: "/narinfo", body: `[` + strings.Repeat(`"`+hash+`",`, maxHashes) + `"` + hash + `"]`, status: 400, text: "at most 32768"},
		"a body that is too large":  {method: "POST", path: "/narinfo", body: strings.Repeat(" ", maxBody) + list, status: 413},
		"a narinfo without a hash":  {method: "HEAD", path: "/a.narinfo", status: 404},

		"no compression":            {method: "POST", path: "/multipart-nar", status: 400, text: "compression is missing"},
		"zstd for zst":              {method: "POST", path: "/multipart-nar?compression=zstd", status: 400, text: "want xz or zst"},
		"a parameter twice":         {method: "POST", path: "/multipart-nar?compression=zst&compression=xz", status: 400},
		"an unknown parameter":      {method: "POST", path: "/multipart-nar?compression=zst&level=3", status: 400, text: "level: unknown"},
		"a query with ;":            {method: "POST", path: "/multipart-nar?compression=zst;level=3", status: 400, text: "query: "},
		"a percent sign alone":      {method: "POST", path: "/multipart-nar?compression=zst&%", status: 400, text: "query: "},
		"an id that is not escaped": {method: "POST", path: "/multipart-nar/NAR?uploadId=RAW&partNumber=1", body: md5, status: 404},
		"create with a body":        {method: "POST", path: "/multipart-nar?compression=zst", body: "{}", status: 400, text: "2 bytes, want none"},
		"sign without uploadId":     {method: "POST", path: "/multipart-nar/NAR?partNumber=1", body: md5, status: 400, text: "uploadId is missing"},
		"sign without number":       {method: "POST", path: "/multipart-nar/NAR?uploadId=UP", body: md5, status: 400, text: "partNumber is missing"},
		"part 0":                    {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=0", body: md5, status: 400, text: "1 to 10000"},
		"part 10001":                {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=10001", body: md5, status: 400, text: "1 to 10000"},
		"part +1":                   {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=%2b1", body: md5, status: 400, text: "1 to 10000"},
		"MD5 in hex":                {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=1", body: `{"contentMD5":"d41d8cd98f00b204e9800998ecf8427e"}`, status: 400, text: "base64 of 16 bytes"},
		"MD5 with a line break":     {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=1", body: `{"contentMD5":"1B2M2Y8AsgTpgAmY7PhCfg==\n"}`, status: 400, text: "base64 of 16 bytes"},
		"MD5 in another base 64":    {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=1", body: `{"contentMD5":"1B2M2Y8AsgTpgAmY7PhCfg"}`, status: 400, text: "base64 of 16 bytes"},
		"something behind the JSON": {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=1", body: md5 + "1", status: 400, text: "not a JSON object"},
		"a field in another case":   {method: "POST", path: "/multipart-nar/NAR?uploadId=UP&partNumber=1", body: `{"contentMd5":"1B2M2Y8AsgTpgAmY7PhCfg=="}`, status: 400, text: "unknown field"},
		"sign for unknown upload":   {method: "POST", path: "/multipart-nar/other?uploadId=UP&partNumber=1", body: md5, status: 404},
		"sign for another upload":   {method: "POST", path: "/multipart-nar/NAR?uploadId=other&partNumber=1", body: md5, status: 404},
		"abort of an unknown one":   {method: "POST", path: "/multipart-nar/other/abort?uploadId=UP", status: 404},
		"abort with a body":         {method: "POST", path: "/multipart-nar/NAR/abort?uploadId=UP", body: "{}", status: 400},
		"complete of unknown one":   {method: "POST", path: "/multipart-nar/other/complete?uploadId=UP", body: "{}", status: 400, text: "missing"},
		"complete of another one":   {method: "POST", path: "/multipart-nar/NAR/complete?uploadId=other", body: body{"parts": []any{}, "narInfoCreate": newObjectNamed("a").info(t, []byte("x"))}.String(), status: 404, text: "no upload"},
		"a name that is no UTF-8":   {method: "POST", path: "/pin", body: "{\"name\":\"\xff\"}", status: 400, text: "not UTF-8"},
		"pin without keep":          {method: "POST", path: "/pin", body: `{"name":"p","storePath":"/nix/store/` + newObjectNamed("a").path + `","artifacts":[]}`, status: 400, text: "keep is missing"},
		"pin by base name":          {method: "POST", path: "/pin", body: pinOf(newObjectNamed("a").path, "null"), status: 400, text: "absolute"},
		"pin of a missing path":     {method: "POST", path: "/pin", body: pinOf("/nix/store/"+newObjectNamed("b").path, "null"), status: 400, text: "not in the cache"},
		"pin for weeks":             {method: "POST", path: "/pin", body: pinOf("/nix/store/"+newObjectNamed("a").path, `{"tag":"Weeks","contents":1}`), status: 400, text: "want Days"},
		"pin for no days":           {method: "POST", path: "/pin", body: pinOf("/nix/store/"+newObjectNamed("a").path, `{"tag":"Days","contents":0}`), status: 400, text: "want Days"},
		"pin forever, a number":     {method: "POST", path: "/pin", body: pinOf("/nix/store/"+newObjectNamed("a").path, `{"tag":"Forever","contents":1}`), status: 400, text: "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, test.options)
			path := test.path
			if strings.Contains(path, "NAR") {
				u := c.create("zst")
				path = strings.NewReplacer("NAR", u.NARID, "UP", strings.TrimPrefix(u.path(""), "/multipart-nar/"+u.NARID+"?uploadId="), "RAW", u.UploadID).Replace(path)
			}
			r := c.request(test.method, path, test.body)
			if test.change != nil {
				test.change(r)
			}
			a := c.mustSend(r)
			if a.status != test.status || !strings.Contains(a.body, test.text) {
				t.Errorf("status %d, want %d with %q: %s", a.status, test.status, test.text, a.body)
			}
			want := 1
			if test.rightful {
				want = 0
			}
			if problems := c.s.Problems(); len(problems) != want {
				t.Errorf("problems %q, want %d", problems, want)
			}
		})
	}
}

func pinOf(path, keep string) string {
	return `{"name":"p","storePath":"` + path + `","artifacts":[],"keep":` + keep + `}`
}

func without(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del(name) }
}

func with(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestInfo(t *testing.T) {
	c := start(t, Options{Name: "c", Preferred: "XZ", Permission: "Admin"})
	type info struct {
		Name, URI, GithubUsername, Permission, PreferredCompressionMethod string
		IsPublic                                                          bool
		PublicSigningKeys                                                 []string
	}
	var got info
	decode(t, c.api(200, "GET", "", "").body, &got)
	if got.Name != "c" || got.URI != c.s.PublicURL() || !got.IsPublic || got.Permission != "Admin" ||
		got.PreferredCompressionMethod != "XZ" || !slices.Equal(got.PublicSigningKeys, c.s.PublicKeys()) {
		t.Errorf("info is %+v", got)
	}
	r := c.request("GET", "", "")
	r.Header.Del("Authorization")
	decode(t, c.mustSend(r).body, &got)
	if got.Permission != "Read" {
		t.Errorf("permission without a token is %s", got.Permission)
	}
	if a := c.mustSend(c.request("GET", "x", "")); a.status != 404 || !strings.Contains(a.body, "Binary cache cx doesn't exist") {
		t.Errorf("another cache: %d %s", a.status, a.body)
	}
	c.noProblems()
}

// Like Cachix, the server reports duplicates of an existing hash as missing: a client must query each hash once.
func TestMissing(t *testing.T) {
	here, upstream, gone, absent := newObjectNamed("here"), newObjectNamed("upstream"), newObjectNamed("gone"), newObjectNamed("absent")
	c := start(t, Options{Upstream: func(hash string) bool { return hash == upstream.hash() }})
	c.push(here)
	c.push(gone)
	c.s.Forget(gone.hash())
	ask := func(objects ...testObject) string {
		var hashes []string
		for _, o := range objects {
			hashes = append(hashes, `"`+o.hash()+`"`)
		}
		return strings.TrimSpace(c.api(200, "POST", "/narinfo", "["+strings.Join(hashes, ",")+"]").body)
	}
	if got, want := ask(here, upstream, gone, absent), `["`+gone.hash()+`","`+absent.hash()+`"]`; got != want {
		t.Errorf("missing are %s, want %s", got, want)
	}
	if got := ask(); got != "[]" {
		t.Errorf("of none, missing are %s", got)
	}
	c.noProblems()
	if got, want := ask(here, here, here), `["`+here.hash()+`","`+here.hash()+`"]`; got != want {
		t.Errorf("of three copies, missing are %s, want two", got)
	}
	if problems := c.s.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "2 are duplicates") {
		t.Errorf("problems are %q", problems)
	}
}

// The largest query of the client is accepted.
func TestMissingTakesWholeBatch(t *testing.T) {
	var hashes []string
	for i := range maxHashes {
		hashes = append(hashes, fmt.Sprintf("%032d", i))
	}
	query, err := json.Marshal(hashes)
	if err != nil {
		t.Fatal(err)
	}
	c := start(t, Options{})
	var missing []string
	decode(t, c.api(200, "POST", "/narinfo", string(query)).body, &missing)
	if !slices.Equal(missing, hashes) {
		t.Errorf("%d of %d are missing", len(missing), len(hashes))
	}
	c.noProblems()
}

func TestPins(t *testing.T) {
	o := newObjectNamed("a")
	c := start(t, Options{})
	c.push(o)
	for keep, want := range map[string]*Keep{
		"null": nil, `{"tag":"Forever"}`: {"Forever", 0}, `{"tag":"Days","contents":30}`: {"Days", 30}, `{"tag":"Revisions","contents":5}`: {"Revisions", 5},
	} {
		c.api(200, "POST", "/pin", `{"name":"p","storePath":"/nix/store/`+o.path+`","artifacts":["bin/a"],"keep":`+keep+`}`)
		pin := c.s.Pins()["p"]
		if pin.StorePath != "/nix/store/"+o.path || !slices.Equal(pin.Artifacts, []string{"bin/a"}) || (pin.Keep == nil) != (want == nil) || want != nil && *pin.Keep != *want {
			t.Errorf("%s: pin is %+v, %v", keep, pin, pin.Keep)
		}
	}
	c.api(200, "HEAD", "/"+o.hash()+".narinfo", "")
	want := `[{"lastRevision":{"artifacts":["bin/a"],"storePath":"/nix/store/` + o.path + `"},"name":"p"}]`
	if got := strings.TrimSpace(c.api(200, "GET", "/pin", "").body); got != want || c.s.Count("pins") != 1 {
		t.Errorf("the list of pins is %s, want %s", got, want)
	}
	c.noProblems()
	for _, artifact := range []string{"", "/bin/a", "../a", "..", "bin//a", "bin/../../a"} {
		c.api(400, "POST", "/pin", `{"name":"p","storePath":"/nix/store/`+o.path+`","artifacts":["`+artifact+`"],"keep":null}`)
	}
}
