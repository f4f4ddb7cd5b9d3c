package provenance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	gonix "zombiezen.com/go/nix"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

const (
	// patience is for a narinfo, which is small. A NAR may take as long as its bytes keep coming.
	patience = 20 * time.Second
	// maxNARInfo is the most bytes that are read as a narinfo.
	maxNARInfo = 8 << 20
)

// WebCache is a binary cache on the web, asked without credentials. It implements [Holder].
type WebCache struct {
	URL    *url.URL
	Client *http.Client
	// Deep has each NAR fetched, unpacked and hashed, where otherwise its narinfo is believed.
	Deep bool
}

// Name returns the URL.
func (c WebCache) Name() string { return c.URL.Redacted() }

// NARHash returns what the narinfo says, which [WebCache].Deep holds the NAR to.
func (c WebCache) NARHash(ctx context.Context, path nix.StorePath) (nix.Hash, error) {
	info, err := c.info(ctx, path)
	if err != nil || !c.Deep {
		return hashOf(info), err
	}
	ref, err := url.Parse(info.URL)
	if err != nil || ref.IsAbs() || ref.Host != "" {
		return nix.Hash{}, fmt.Errorf("its narinfo names %.80q, which is not a file of the cache", info.URL)
	}
	u := c.URL.JoinPath(ref.Path)
	u.RawQuery = ref.RawQuery
	body, err := c.get(ctx, u)
	if errors.Is(err, ErrAbsent) {
		err = errNoNAR
	}
	if err != nil {
		return nix.Hash{}, err
	}
	defer body.Close()
	return info.NARHash, rehash(ctx, body, info)
}

func (c WebCache) info(ctx context.Context, path nix.StorePath) (*nix.NARInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := c.get(ctx, c.URL.JoinPath(path.Digest()+gonix.NARInfoExtension))
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, maxNARInfo))
	if err != nil {
		return nil, fmt.Errorf("read narinfo: %w", err)
	}
	info, err := nix.ParseNARInfo(data)
	if err != nil {
		return nil, err
	}
	if info.StorePath != path {
		return nil, fmt.Errorf("read narinfo: it is that of %s", info.StorePath)
	}
	return info, nil
}

// get asks for a file. 403 is an absent file as well: S3 answers with it who may not list its bucket.
func (c WebCache) get(ctx context.Context, u *url.URL) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := c.Client.Do(request)
	if err != nil {
		var named *url.Error
		if errors.As(err, &named) {
			err = named.Err
		}
		return nil, fmt.Errorf("ask %s: %w", u.Redacted(), err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return answer.Body, nil
	case http.StatusNotFound, http.StatusForbidden:
		err = ErrAbsent
	default:
		err = fmt.Errorf("ask %s: the answer is %s", u.Redacted(), strings.TrimSpace(answer.Status))
	}
	_ = answer.Body.Close()
	return nil, err
}
