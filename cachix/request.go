package cachix

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// maxAnswer limits the size of an answer. The longest answer, of the missing query, has some 40 bytes for each of [maxQuery] digests.
const maxAnswer = 4 << 20

// apiCall is a request to an endpoint of the API.
type apiCall struct {
	// does is the purpose of the call, for errors: "create upload".
	does   string
	method string
	path   string // after /cache/{name}
	query  url.Values
	body   any // encoded as JSON; nil for none
	answer any // decoded from JSON; nil if the content is ignored: it may be empty, or any JSON

	limits
}

// limits are exceptions to the timeouts of a request.
type limits struct {
	// stall replaces the stall timeout of the retry policy; 0 does not.
	stall time.Duration
	// lasting gives the request a grace period after ctx is done. It is for requests that begin an upload, which could not
	// be aborted without the answer, and for those that complete one.
	lasting bool
}

// call sends a request to the API, with retries, and decodes the answer.
// If the server refuses, the error is a [*StatusError]. If no attempt has a usable answer, it is an [*UnavailableError].
func (c *Client) call(ctx context.Context, a apiCall) error {
	return c.retry(ctx, a.does, func(ctx context.Context) error { return c.ask(ctx, a) })
}

// ask makes one attempt.
func (c *Client) ask(ctx context.Context, a apiCall) error {
	var body []byte
	if a.body != nil {
		var err error
		if body, err = json.Marshal(a.body); err != nil {
			return err
		}
	}
	u := c.base + "/cache/" + url.PathEscape(c.name) + a.path
	if len(a.query) > 0 {
		u += "?" + a.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, a.method, u, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	if a.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.credential.token() != "" {
		request.Header.Set("Authorization", "Bearer "+c.credential.token())
	}
	answer, err := c.send(c.api, request, bytes.NewReader(body), a.limits)
	if err != nil {
		return err
	}
	return c.read(a, answer)
}

// read decodes an answer. As in Cachix's own client, only status 200 is a success, even if the content is ignored:
// an answer with another status, or in HTML, comes from a proxy.
func (c *Client) read(a apiCall, answer received) error {
	if answer.status != http.StatusOK {
		return fmt.Errorf("read answer: status %d %s, want 200", answer.status, http.StatusText(answer.status))
	}
	into := a.answer
	if into == nil {
		if len(bytes.TrimSpace(answer.body)) == 0 {
			return nil
		}
		into = new(json.RawMessage)
	}
	if err := json.Unmarshal(answer.body, into); err != nil {
		if kind, _, _ := mime.ParseMediaType(answer.header.Get("Content-Type")); kind == "text/html" {
			return fmt.Errorf("read answer: it is HTML, not JSON (is there a proxy in front of %s?)", c.base)
		}
		return fmt.Errorf("read answer: %s", c.printable(err.Error()))
	}
	return nil
}

// received is a complete answer.
type received struct {
	status int
	header http.Header
	body   []byte
}

// body is the body of a request. It may be empty.
type body interface {
	io.Reader
	Size() int64
}

// send sends a request, within the limits of the throttle and the stall timeout, and reads the answer.
// If the status is not a success, the error is a [*StatusError].
func (c *Client) send(client *http.Client, request *http.Request, content body, l limits) (_ received, err error) {
	ctx := request.Context()
	if err := c.throttle.acquire(ctx); err != nil {
		return received{}, err
	}
	defer func() { c.throttle.release(err) }()
	if l.lasting {
		longer, cancel := withGracePeriod(ctx, c.policy.finalTimeout)
		defer cancel()
		ctx = longer
	}
	ctx, watch := withStallTimeout(ctx, cmp.Or(l.stall, c.policy.stallTimeout))
	defer watch.stop()
	request = request.WithContext(ctx)
	request.ContentLength = content.Size()
	if request.ContentLength > 0 { // an empty body would be sent with chunked encoding, which storages refuse
		sent := &sentBody{r: watch.reader(content)}
		defer sent.Close()
		request.Body = sent
	}
	request.Header.Set("User-Agent", c.agent)
	response, err := client.Do(request)
	if err != nil {
		return received{}, c.unanswered(ctx, err)
	}
	defer response.Body.Close()
	watch.tick()
	defer watch.limit(c.policy.answerTimeout)()
	data, err := io.ReadAll(io.LimitReader(watch.reader(response.Body), maxAnswer+1))
	switch {
	case err != nil:
		return received{}, c.unanswered(ctx, err)
	case response.StatusCode/100 != 2:
		return received{}, c.statusError(response, data)
	case len(data) > maxAnswer:
		return received{}, fmt.Errorf("read answer: longer than %d bytes", maxAnswer)
	}
	return received{status: response.StatusCode, header: response.Header, body: data}, nil
}

// sentBody is the body of a request. After Close, reads fail: net/http may still read a body after its request has ended,
// when the buffer of the part already belongs to the next part.
type sentBody struct {
	mu sync.Mutex
	r  io.Reader // nil after Close
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, errors.New("the request has ended")
	}
	return b.r.Read(p)
}

func (b *sentBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r = nil
	return nil
}

// statusError reads the answer of a server that refuses a request.
func (c *Client) statusError(response *http.Response, body []byte) *StatusError {
	e := &StatusError{Status: response.StatusCode, retryAfter: retryAfter(response.Header, body)}
	if response.StatusCode/100 == 3 {
		e.Message = "the server redirects, which no endpoint does"
		return e
	}
	var answer struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	text := ""
	if json.Unmarshal(body, &answer) == nil {
		text = cmp.Or(answer.Error, answer.Message)
	} else if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "text/plain" || kind == "" {
		text = string(body)
	}
	e.Message = c.printable(text)
	return e
}

// printable makes text of a server safe to print, as one line of limited length. It first removes the token, and then
// shortens the text.
func (c *Client) printable(text string) string {
	return printable.Cut(strings.Join(strings.Fields(printable.Line(c.credential.redact(text))), " "), 300)
}
