package online

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/scopecreep-zip/open-sesame-ci/cachix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/binarycache"
	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/printable"
)

// State is the result of one check.
type State string

// The states of an assumption.
const (
	Seen         State = "seen"
	NotSeen      State = "not seen"
	Contradicted State = "contradicted"
	NotChecked   State = "not checked" // no answer, or a refusal: neither seen nor contradicted
)

// Result is what an answer says about an assumption.
type Result struct {
	ID         string `json:"id"`
	Assumption string `json:"assumption"`
	State      State  `json:"state"`
	Detail     string `json:"detail,omitempty"` // printable, on one line
	hints      []string
}

// Limit is the maximum time for each service.
const Limit = 30 * time.Second

// Options say what is checked.
type Options struct {
	Client   *cachix.Client
	HasToken bool   // Client sends an auth token
	Image    string // a reference with its digest; empty for an image that is a file
	Limit    time.Duration
}

// Check sends the requests, and returns a result for each assumption.
func Check(ctx context.Context, o Options) []Result {
	found := findings{}
	o.limited(ctx, func(ctx context.Context) { o.checkCache(ctx, found) })
	if o.Image == "" {
		found.set(image, NotSeen, errors.New("the image is a file"))
		found.set(systems, NotSeen, errors.New("the image is a file"))
	} else {
		o.limited(ctx, func(ctx context.Context) { checkImage(ctx, o.Image, found) })
	}
	var all []Result
	for _, a := range Assumptions {
		r, checked := found[a.ID]
		if !checked {
			r = Result{State: NotSeen, Detail: a.Check}
		}
		r.ID, r.Assumption = a.ID, a.Sentence
		all = append(all, r)
	}
	return all
}

func (o Options) limited(ctx context.Context, check func(context.Context)) {
	ctx, cancel := context.WithTimeoutCause(ctx, o.Limit, fmt.Errorf("no answer within %s", o.Limit))
	defer cancel()
	check(ctx)
}

// Err returns the error of a check in which an answer contradicts an assumption, or is missing.
func Err(results []Result) error {
	var all []error
	for _, r := range results {
		if r.State != Contradicted && r.State != NotChecked {
			continue
		}
		err := fmt.Errorf("check %s: %s: %s", r.ID, r.State, r.Detail)
		for _, h := range r.hints {
			err = hint.Wrap(err, "%s", h)
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// findings has the result of each assumption that was checked.
type findings map[string]Result

// set sets a result. The detail may contain text of a server.
func (f findings) set(id string, s State, detail error) {
	r := Result{State: s}
	if detail != nil {
		r.Detail = printable.Cut(strings.Join(strings.Fields(printable.Line(detail.Error())), " "), 300)
		r.hints = hint.Of(detail)
	}
	f[id] = r
}

// fail sets a result after a request that has failed.
func (f findings) fail(ctx context.Context, id string, err error) {
	state := Contradicted
	status, refused := errors.AsType[*cachix.StatusError](err)
	_, unavailable := errors.AsType[*cachix.UnavailableError](err)
	switch {
	case ctx.Err() != nil, unavailable:
		state = NotChecked
		err = hint.Wrap(err, "look at the network, the proxy and the name of the host, and repeat the command")
	case refused && slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound}, status.Status):
		state = NotChecked // the token, or the name of the cache
	}
	f.set(id, state, err)
}

// checkCache stops at the first answer that the other requests depend on.
func (o Options) checkCache(ctx context.Context, found findings) {
	info, err := o.Client.Info(ctx)
	if err != nil {
		found.fail(ctx, cacheInfo, err)
		return
	}
	if info.Name != o.Client.Name() {
		found.set(cacheInfo, Contradicted, fmt.Errorf("the name is %q, want %q", info.Name, o.Client.Name()))
		return
	}
	found.set(cacheInfo, Seen, fmt.Errorf("%s, public: %t", info.URI, info.Public))
	o.checkPermission(info.Permission, found)
	keys, err := binarycache.ParsePublicKeys(info.Keys)
	switch {
	case err != nil:
		found.set(cacheKeys, Contradicted, err)
	case len(keys) == 0:
		found.set(cacheKeys, NotSeen, errors.New("the cache has no key yet"))
	default:
		found.set(cacheKeys, Seen, errors.New(strings.Join(info.Keys, " ")))
	}
	o.checkAbsent(ctx, found)
	o.checkServed(ctx, info, found)
}

func (o Options) checkPermission(permitted string, found findings) {
	switch {
	case !slices.Contains([]string{"Read", "Write", "Admin"}, permitted):
		found.set(permission, Contradicted, fmt.Errorf("the permission is %q, want Read, Write or Admin", permitted))
	case !o.HasToken:
		found.set(permission, NotSeen, errors.New("needs an auth token"))
	case permitted == "Read":
		found.set(permission, Seen, errors.New("permission Read: this token cannot push"))
	default:
		found.set(permission, Seen, errors.New(permitted))
	}
}

// noDigest is the digest of no store path.
var noDigest = strings.Repeat("0", 32)

func (o Options) checkAbsent(ctx context.Context, found findings) {
	switch there, err := o.Client.Has(ctx, noDigest); {
	case err != nil:
		found.fail(ctx, absent, err)
	case there:
		found.set(absent, Contradicted, fmt.Errorf("the answer for %s is 200, want 404", noDigest))
	default:
		found.set(absent, Seen, nil)
	}
}

// checkServed asks for a path that the cache has: one that is pinned. It sends no credential.
func (o Options) checkServed(ctx context.Context, info cachix.Info, found findings) {
	pinned, err := o.Client.Pins(ctx)
	switch {
	case err != nil:
		found.fail(ctx, pins, err)
		return
	case len(pinned) == 0:
		found.set(pins, NotSeen, errors.New("needs a pin"))
		found.set(served, NotSeen, errors.New("needs a pin"))
		return
	}
	name := slices.Min(slices.Collect(maps.Keys(pinned)))
	path := pinned[name]
	found.set(pins, Seen, fmt.Errorf("%d, such as %s", len(pinned), name))
	if !info.Public {
		found.set(served, NotSeen, errors.New("the cache is private"))
		return
	}
	if err := sees(ctx, info, path); err != nil {
		state := Contradicted
		if ctx.Err() != nil || binarycache.IsTemporary(err) {
			state, err = NotChecked, hint.Wrap(err, "repeat the command")
		}
		found.set(served, state, err)
		return
	}
	found.set(served, Seen, errors.New(string(path)))
}

func sees(ctx context.Context, info cachix.Info, path nix.StorePath) error {
	public, err := url.Parse(info.URI)
	if err != nil {
		return errors.New("the cache's uri is not a URL")
	}
	keys, err := binarycache.ParsePublicKeys(info.Keys)
	if err != nil {
		return err
	}
	consumer := binarycache.Consumer{HTTP: binarycache.NewHTTP(public), Keys: keys}
	return consumer.Sees(ctx, nix.PathInfo{Path: path}, nil)
}
