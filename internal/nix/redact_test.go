package nix

import "testing"

func TestRedact(t *testing.T) {
	const in = `fatal: unable to access 'https://u:s3cret@h.org/x?a=1&access_token=s3cret&b=2': and ssh://s3cret@h/y; mail me@x.org`
	const want = `fatal: unable to access 'https://h.org/x?a=1&access_token=…&b=2': and ssh://h/y; mail me@x.org`
	if got := Redact(in); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
