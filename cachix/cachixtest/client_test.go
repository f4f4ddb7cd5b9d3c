package cachixtest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	gonix "zombiezen.com/go/nix"
	"zombiezen.com/go/nix/nixbase32"
)

// client is a minimal client, with which a test can also send invalid requests.
type client struct {
	t     testing.TB
	s     *Server
	token string
}

func start(t testing.TB, o Options) client {
	t.Helper()
	s := New(o)
	t.Cleanup(s.Close)
	return client{t, s, s.options.Token}
}

// answered is a complete answer.
type answered struct {
	status int
	header http.Header
	body   string
}

// request makes a valid request to the API.
func (c client) request(method, path, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.s.APIURL()+"/cache/"+c.s.options.Name+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	r.Header.Set("Accept", "application/json")
	if body != "" {
		r.Header.Set("Content-Type", "application/json;charset=utf-8")
	}
	return r
}

// send sends a request on a separate connection, so that a fault of one request does not affect the next.
func (c client) send(r *http.Request) (answered, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return answered{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answered{response.StatusCode, response.Header, string(body)}, err
}

func (c client) mustSend(r *http.Request) answered {
	c.t.Helper()
	a, err := c.send(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// begun returns a channel that receives a value when the server has received a request.
func (c client) begun() <-chan struct{} {
	begun := make(chan struct{}, 10)
	c.s.log.update(func() { c.s.log.begun = begun })
	return begun
}

// api sends a request to the API, and checks the status.
func (c client) api(want int, method, path, body string) answered {
	c.t.Helper()
	a := c.mustSend(c.request(method, path, body))
	if a.status != want {
		c.t.Fatalf("%s %s: status %d, want %d: %s", method, path, a.status, want, a.body)
	}
	return a
}

// get sends a request to the public side.
func (c client) get(path string) answered {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.s.PublicURL()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.mustSend(r)
}

// begun is an upload.
type begun struct {
	NARID    string `json:"narId"`
	UploadID string `json:"uploadId"`
}

func (u begun) path(action string) string {
	return "/multipart-nar/" + u.NARID + action + "?uploadId=" + url.QueryEscape(u.UploadID)
}

func (c client) create(compression string) begun {
	c.t.Helper()
	var u begun
	decode(c.t, c.api(200, "POST", "/multipart-nar?compression="+compression, "").body, &u)
	return u
}

func contentMD5(data []byte) string {
	sum := md5.Sum(data)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// part makes a request with a part.
func (c client) part(u begun, number int, data []byte) *http.Request {
	c.t.Helper()
	var signed struct {
		UploadURL string `json:"uploadUrl"`
	}
	path := u.path("") + "&partNumber=" + decimal(int64(number))
	decode(c.t, c.api(200, "POST", path, `{"contentMD5":"`+contentMD5(data)+`"}`).body, &signed)
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, signed.UploadURL, bytes.NewReader(data))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/octet-stream")
	r.Header.Set("Content-MD5", contentMD5(data))
	return r
}

func (c client) put(u begun, number int, data []byte) (eTag string) {
	c.t.Helper()
	a := c.mustSend(c.part(u, number, data))
	if a.status != 200 || a.header.Get("ETag") == "" {
		c.t.Fatalf("part %d: status %d, ETag %q: %s", number, a.status, a.header.Get("ETag"), a.body)
	}
	return a.header.Get("ETag")
}

// body is the body of complete. Tests change its fields.
type body map[string]any

func (b body) info() map[string]any    { return b["narInfoCreate"].(map[string]any) }
func (b body) parts() []map[string]any { return b["parts"].([]map[string]any) }

func (b body) String() string {
	text, err := json.Marshal(map[string]any(b))
	if err != nil {
		return err.Error() // not JSON: the server will refuse it
	}
	return string(text)
}

// testObject is an object to push.
type testObject struct {
	path string // base name
	nar  []byte
	refs []string // base names
	sign func(*gonix.NARInfo) string
}

func newObjectNamed(name string, refs ...string) testObject {
	sum := sha256.Sum256([]byte(name))
	return testObject{
		path: nixbase32.EncodeToString(sum[:20]) + "-" + name,
		nar:  bytes.Repeat([]byte("not in the grammar of a NAR, which is no business of the server: "+name+"\n"), 100),
		refs: refs,
	}
}

func (o testObject) hash() string { return o.path[:32] }

// info makes the narInfoCreate of an object.
func (o testObject) info(t testing.TB, packed []byte) map[string]any {
	t.Helper()
	file, nar := sha256.Sum256(packed), sha256.Sum256(o.nar)
	refs := slices.Sorted(slices.Values(o.refs))
	info := map[string]any{
		"cStoreHash": o.hash(), "cStoreSuffix": o.path[33:],
		"cNarHash": "sha256:" + nixbase32.EncodeToString(nar[:]), "cNarSize": len(o.nar),
		"cFileHash": hex.EncodeToString(file[:]), "cFileSize": len(packed),
		"cReferences": append([]string{}, refs...), "cDeriver": "unknown-deriver", "cSig": nil,
	}
	if o.sign == nil {
		return info
	}
	described := &gonix.NARInfo{
		StorePath: gonix.StorePath("/nix/store/" + o.path), NARHash: gonix.NewHash(gonix.SHA256, nar[:]), NARSize: int64(len(o.nar)),
	}
	for _, ref := range refs {
		described.References = append(described.References, gonix.StorePath("/nix/store/"+ref))
	}
	info["cSig"] = o.sign(described)
	return info
}

func zst(t testing.TB, data []byte) []byte {
	t.Helper()
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer encoder.Close()
	return encoder.EncodeAll(data, nil)
}

func xzStream(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// upload sends a file in parts of a size, and returns the body to complete it.
func (c client) upload(o testObject, compression string, packed []byte, size int) (begun, body) {
	c.t.Helper()
	u := c.create(compression)
	var parts []map[string]any
	for data := range slices.Chunk(packed, size) {
		number := len(parts) + 1
		parts = append(parts, map[string]any{"partNumber": number, "eTag": c.put(u, number, data)})
	}
	return u, body{"parts": parts, "narInfoCreate": o.info(c.t, packed)}
}

// push pushes an object.
func (c client) push(o testObject) {
	c.t.Helper()
	c.pushFile(o, "zst", zst(c.t, o.nar))
}

func (c client) pushFile(o testObject, compression string, packed []byte) {
	c.t.Helper()
	u, b := c.upload(o, compression, packed, len(packed))
	c.api(200, "POST", u.path("/complete"), b.String())
}

func (c client) noProblems() {
	c.t.Helper()
	if problems := c.s.Problems(); len(problems) > 0 {
		c.t.Errorf("problems: %q", problems)
	}
}

func decode(t testing.TB, text string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}
