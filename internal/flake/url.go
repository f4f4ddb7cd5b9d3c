package flake

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// secretName matches the parameters that carry credentials: tokens of forges and signatures of object stores.
var secretName = regexp.MustCompile(`(?i)token|secret|passw|signature|credential|^sig$|key|auth`)

// withoutCredentials removes secrets from a URL. The user name of an SSH URL stays: it is needed and not secret. That of
// an HTTPS URL is often the token itself.
func withoutCredentials(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return nix.Redact(raw)
	}
	switch {
	case u.User == nil:
	case u.Scheme == "ssh" && u.User.Username() != "":
		u.User = url.User(u.User.Username())
	default:
		u.User = nil
	}
	if u.RawQuery == "" {
		return u.String()
	}
	params := u.Query()
	for name := range params {
		if secretName.MatchString(name) {
			params.Del(name)
		}
	}
	u.RawQuery = encodeQuery(params)
	return u.String()
}

// SameURL reports whether two URLs of an [Input] are the same, apart from secrets and from the order and the encoding of
// parameters, which versions of this program have written in different ways.
func SameURL(a, b string) bool { return plainURL(a) == plainURL(b) }

func plainURL(text string) string {
	text = withoutCredentials(text)
	if plain, err := url.PathUnescape(text); err == nil {
		return plain
	}
	return text
}

// withoutURL strips a *url.Error of its URL, which may hold credentials.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// withQuery appends the parameters that are not empty to a URL, in order and encoded as Nix does it.
func withQuery(base string, params map[string]string) string {
	values := url.Values{}
	for name, value := range params {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return base
	}
	sep := "?"
	if strings.Contains(base, "?") {
		sep = "&"
	}
	return base + sep + encodeQuery(values)
}

// encodeQuery encodes parameters as Nix does it: unlike in a form, a space is not a plus sign, and / : @ are not encoded.
func encodeQuery(params url.Values) string { return unescaped.Replace(params.Encode()) }

var unescaped = strings.NewReplacer("+", "%20", "%2F", "/", "%3A", ":", "%40", "@")

// parseQuery parses a query. Unlike in package net/url, a plus sign is not a space: Nix does the same, and SRI hashes
// contain plus signs.
func parseQuery(query string) (map[string]string, error) {
	params := map[string]string{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.PathUnescape(name)
		if err != nil {
			return nil, err
		}
		if value, err = url.PathUnescape(value); err != nil {
			return nil, err
		}
		if _, twice := params[name]; twice {
			return nil, fmt.Errorf("has two values of %q", name)
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("has a zero byte in %q", name)
		}
		params[name] = value
	}
	return params, nil
}
