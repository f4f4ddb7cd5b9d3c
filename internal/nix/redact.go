package nix

import "regexp"

var (
	userinfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s"']*@`)
	secretParam = regexp.MustCompile(`(?i)([?&][^=&\s"']*(?:token|secret|passw|signature|credential|key|auth)[^=&\s"']*|[?&]sig)=[^&\s"'#]*`)
)

// Redact removes the credentials from all URLs in a text, such as an error message of git.
func Redact(text string) string {
	return secretParam.ReplaceAllString(userinfo.ReplaceAllString(text, "$1"), "$1=…")
}
