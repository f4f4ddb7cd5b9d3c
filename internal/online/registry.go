package online

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
)

// maxManifest limits the size of an answer of a registry.
const maxManifest = 4 << 20

// reference is an image of a registry.
type reference struct{ host, name, digest string }

// parseReference parses HOST/NAME[:TAG]@DIGEST. Without a host it is an image of Docker Hub.
func parseReference(text string) (reference, error) {
	name, digest, pinned := strings.Cut(text, "@")
	host, rest, hasHost := strings.Cut(name, "/")
	if !hasHost || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, rest = "docker.io", name
	}
	rest, _, _ = strings.Cut(rest, ":")
	if host == "docker.io" {
		host = "registry-1.docker.io"
		if !strings.Contains(rest, "/") {
			rest = "library/" + rest
		}
	}
	if !pinned || rest == "" {
		return reference{}, fmt.Errorf("parse image %q: not a reference with a digest", text)
	}
	return reference{host, rest, digest}, nil
}

// base is the URL of the registry. As in container engines, one on this machine needs no TLS.
func (r reference) base() string {
	host, _, err := net.SplitHostPort(r.host)
	if err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback()) {
		return "http://" + r.host
	}
	return "https://" + r.host
}

func checkImage(ctx context.Context, text string, found findings) {
	ref, err := parseReference(text)
	if err != nil {
		found.set(image, NotSeen, err)
		return
	}
	client := &http.Client{
		Transport:     http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // none may get the token
	}
	defer client.CloseIdleConnections()
	manifest, err := ref.manifest(ctx, client)
	if err != nil {
		state := Contradicted
		if _, unanswered := errors.AsType[*noAnswerError](err); unanswered {
			state, err = NotChecked, hint.Wrap(err, "look at the network, the proxy and the name of the host, and repeat the command")
		}
		found.set(image, state, fmt.Errorf("ask for the manifest of %s: %w", text, err))
		return
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(manifest)); got != ref.digest {
		found.set(image, Contradicted, fmt.Errorf("the digest is %s, want %s", got, ref.digest))
		return
	}
	found.set(image, Seen, errors.New(text))
	var index oci.Index
	if err := json.Unmarshal(manifest, &index); err != nil {
		found.set(systems, Contradicted, fmt.Errorf("read index: %w", err))
		return
	}
	for _, want := range []string{"amd64", "arm64"} {
		if !hasPlatform(index, want) {
			found.set(systems, Contradicted, fmt.Errorf("the index has no image for linux/%s", want))
			return
		}
	}
	found.set(systems, Seen, nil)
}

func hasPlatform(index oci.Index, architecture string) bool {
	for _, m := range index.Manifests {
		if m.Platform != nil && m.Platform.OS == "linux" && m.Platform.Architecture == architecture {
			return true
		}
	}
	return false
}

// noAnswerError means that a registry gave no answer, or that it has a temporary failure.
type noAnswerError struct{ error }

func (e *noAnswerError) Unwrap() error { return e.error }

// challenge is the part of a WWW-Authenticate header that a client without an account needs.
var challenge = regexp.MustCompile(`(realm|service|scope)="([^"]*)"`)

// manifest returns the manifest or index of the image. See the OCI distribution specification, and for the token the
// token authentication of the Distribution project. No account is used.
func (r reference) manifest(ctx context.Context, client *http.Client) ([]byte, error) {
	u := r.base() + "/v2/" + r.name + "/manifests/" + r.digest
	response, body, err := get(ctx, client, u, "")
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusUnauthorized {
		token, err := r.token(ctx, client, response.Header.Get("WWW-Authenticate"))
		if err != nil {
			return nil, err
		}
		if response, body, err = get(ctx, client, u, token); err != nil {
			return nil, err
		}
	}
	return body, wantOK(response)
}

func (r reference) token(ctx context.Context, client *http.Client, header string) (string, error) {
	values := map[string]string{}
	for _, pair := range challenge.FindAllStringSubmatch(header, -1) {
		values[pair[1]] = pair[2]
	}
	realm, err := url.Parse(values["realm"])
	if err != nil || realm.Host == "" || realm.Scheme != "https" && (reference{host: realm.Host}).base() != "http://"+realm.Host {
		return "", fmt.Errorf("get token: the registry names no HTTPS URL for it: %q", header)
	}
	realm.RawQuery = url.Values{"service": {values["service"]}, "scope": {"repository:" + r.name + ":pull"}}.Encode()
	response, body, err := get(ctx, client, realm.String(), "")
	if err == nil {
		err = wantOK(response)
	}
	if err != nil {
		return "", fmt.Errorf("get token: %w", err)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token+answer.AccessToken == "" {
		return "", errors.New("get token: the answer has no token")
	}
	if answer.Token == "" {
		return answer.AccessToken, nil
	}
	return answer.Token, nil
}

func wantOK(response *http.Response) error {
	switch {
	case response.StatusCode == http.StatusOK:
		return nil
	case response.StatusCode == http.StatusTooManyRequests, response.StatusCode >= 500:
		return &noAnswerError{fmt.Errorf("the answer is %s", response.Status)}
	}
	return fmt.Errorf("the answer is %s, want 200", response.Status)
}

// get sends a GET request, and reads the answer.
func get(ctx context.Context, client *http.Client, u, token string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Accept", oci.MediaTypeImageIndex+", application/vnd.docker.distribution.manifest.list.v2+json, "+oci.MediaTypeImageManifest)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, unanswered(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxManifest+1))
	switch {
	case err != nil:
		return nil, nil, unanswered(ctx, err)
	case len(body) > maxManifest:
		return nil, nil, fmt.Errorf("the answer is longer than %d bytes", maxManifest)
	}
	return response, body, nil
}

// unanswered returns the reason why there was no answer, without the URL.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &noAnswerError{context.Cause(ctx)}
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err
	}
	return &noAnswerError{err}
}
