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
	"unicode"
)

// maxAnswer bounds what is read of an answer: the longest, of the missing query, has some 40 bytes for each of [maxQuery] digests.
const maxAnswer = 4 << 20

// apiCall is one question to an endpoint of the API.
type apiCall struct {
	// does says what the call is for, as errors have it: "create upload".
	does   string
	method string
	path   string // after /cache/{name}
	query  url.Values
	body   any // encoded as JSON; nil for none
	answer any // decoded from JSON; nil where it has no contents that matter: then it is empty, or any JSON

	// stall is how long the server may think about it without a word; 0 for as long as with most calls.
	stall time.Duration
	// lasting has the answer waited for a little longer than ctx lasts. It is for what begins an upload, which could
	// not be taken back without the answer, and for what completes one.
	lasting bool
}

// call asks the API until it answers, and decodes the answer.
// A refusal is a [*StatusError]; a server that gives no usable answer after all retries is an [*UnavailableError].
func (c *Client) call(ctx context.Context, a apiCall) error {
	return c.retry(ctx, a.does, func(ctx context.Context) error { return c.ask(ctx, a) })
}

// ask is one attempt.
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
	answer, err := c.send(exchange{
		client: c.api, request: request, body: bytes.NewReader(body), size: int64(len(body)), stall: a.stall, lasting: a.lasting,
	})
	if err != nil {
		return err
	}
	return c.read(a, answer)
}

// read decodes an answer. Cachix's own client takes status 200 alone for a success, also of a call whose answer has no
// contents: a page with another status, or a page at all, comes from a server in between.
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
			return fmt.Errorf("read answer: it is a page of HTML, not JSON (is there a proxy before %s?)", c.base)
		}
		return fmt.Errorf("read answer: %s", c.said(err.Error()))
	}
	return nil
}

// exchange is one request, and how long to wait for the answer.
type exchange struct {
	client  *http.Client
	request *http.Request
	body    io.Reader
	size    int64         // of the body; 0 for none
	stall   time.Duration // without a byte moving; 0 for as long as with most requests
	lasting bool          // see [apiCall]
}

// received is an answer, read whole.
type received struct {
	status int
	header http.Header
	body   []byte
}

// send sends one request, under the limit and the watch that all requests have in common, and reads the answer.
// A status that is not a success is a [*StatusError].
func (c *Client) send(x exchange) (received, error) {
	if err := c.throttle.acquire(x.request.Context()); err != nil {
		return received{}, err
	}
	r, err := c.sendNow(x)
	c.throttle.release(err)
	return r, err
}

func (c *Client) sendNow(x exchange) (received, error) {
	ctx := x.request.Context()
	if x.lasting {
		longer, cancel := outlive(ctx, c.patience.last)
		defer cancel()
		ctx = longer
	}
	ctx, watch := newWatch(ctx, cmp.Or(x.stall, c.patience.stall))
	defer watch.stop()
	request := x.request.WithContext(ctx)
	request.ContentLength = x.size
	if x.size > 0 { // a body of no bytes would be sent in chunks, which a storage refuses
		body := &sentBody{r: watch.reader(x.body)}
		defer body.Close()
		request.Body = body
	}
	request.Header.Set("User-Agent", c.agent)
	response, err := x.client.Do(request)
	if err != nil {
		return received{}, c.unanswered(ctx, err)
	}
	defer response.Body.Close()
	watch.tick()
	defer watch.limit(c.patience.answer)()
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

// sentBody is the body of a request. After Close nobody reads it any more: net/http may go on with that for a moment
// when the request itself is over, and a part's buffer then belongs to the next part.
type sentBody struct {
	mu sync.Mutex
	r  io.Reader // nil after Close
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.r == nil {
		return 0, errors.New("the request is over")
	}
	return b.r.Read(p)
}

func (b *sentBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.r = nil
	return nil
}

// statusError reads what a server says of a request that it refuses.
func (c *Client) statusError(response *http.Response, body []byte) *StatusError {
	e := &StatusError{Status: response.StatusCode, wait: retryAfter(response.Header, body)}
	if response.StatusCode/100 == 3 {
		e.Message = "it redirects, which no endpoint does"
		return e
	}
	var said struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	text := ""
	if json.Unmarshal(body, &said) == nil {
		text = said.Error
		if text == "" {
			text = said.Message
		}
	} else if kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); kind == "text/plain" || kind == "" {
		text = string(body)
	}
	e.Message = c.said(text)
	return e
}

// said makes words that came from elsewhere fit to be printed. The token is taken out first, before it can be cut in two.
func (c *Client) said(text string) string { return oneLine(c.credential.redact(text)) }

// oneLine puts a text on one line, without what a terminal would obey, and cuts what is too long.
func oneLine(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return text
}
