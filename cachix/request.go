package cachix

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
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
	answer any // decoded from JSON; nil where nothing is read
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
	if c.credential.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.credential.token)
	}
	answer, err := c.send(c.api, request, bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	if a.answer == nil {
		return nil
	}
	if err := json.Unmarshal(answer.body, a.answer); err != nil {
		if kind, _, _ := mime.ParseMediaType(answer.header.Get("Content-Type")); kind == "text/html" {
			return fmt.Errorf("read answer: it is a page of HTML, not JSON (is there a proxy before %s?)", c.base)
		}
		return fmt.Errorf("read answer: %v", err)
	}
	return nil
}

// received is an answer, read whole.
type received struct {
	header http.Header
	body   []byte
}

// send sends one request with a body, under the limit and the watch that all requests have in common,
// and reads the answer. A status that is not a success is a [*StatusError].
func (c *Client) send(client *http.Client, request *http.Request, body io.Reader, size int64) (received, error) {
	if err := c.throttle.acquire(request.Context()); err != nil {
		return received{}, err
	}
	r, err := c.sendNow(client, request, body, size)
	c.throttle.release(err)
	return r, err
}

func (c *Client) sendNow(client *http.Client, request *http.Request, body io.Reader, size int64) (received, error) {
	ctx, watch := newWatch(request.Context(), c.patience.stall)
	defer watch.stop()
	request = request.WithContext(ctx)
	request.ContentLength = size
	if size > 0 { // a body of no bytes would be sent in chunks, which a storage refuses
		request.Body = io.NopCloser(watch.reader(body))
	}
	request.Header.Set("User-Agent", c.agent)
	response, err := client.Do(request)
	if err != nil {
		return received{}, c.unsent(ctx, err)
	}
	defer response.Body.Close()
	watch.tick()
	data, err := io.ReadAll(io.LimitReader(watch.reader(response.Body), maxAnswer+1))
	switch {
	case err != nil:
		return received{}, c.unsent(ctx, err)
	case response.StatusCode/100 != 2:
		return received{}, c.statusError(response, data)
	case len(data) > maxAnswer:
		return received{}, fmt.Errorf("read answer: longer than %d bytes", maxAnswer)
	}
	return received{header: response.Header, body: data}, nil
}

// statusError reads what a server says of a request that it refuses.
func (c *Client) statusError(response *http.Response, body []byte) *StatusError {
	e := &StatusError{Status: response.StatusCode, wait: retryAfter(response.Header, body)}
	if to := response.Header.Get("Location"); response.StatusCode/100 == 3 && to != "" {
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
	e.Message = c.credential.redact(oneLine(text))
	return e
}

// oneLine makes a server's words fit to be printed: on one line, without control characters, not too long.
func oneLine(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
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
