// Package online compares what this program assumes about Cachix and about the registry of its image with what the real
// ones answer. It changes nothing there: it sends only GET and HEAD.
package online

// Assumption is what this program assumes about a service that it was never run against.
type Assumption struct {
	ID       string
	Sentence string
	Check    string // how it is checked
}

// How assumptions are checked that no reading request can show.
const (
	needsPush   = "needs a push"
	needsGitHub = "needs a run on GitHub"
)

// The assumptions that [Check] checks.
const (
	cacheInfo  = "cache-info"
	cacheKeys  = "cache-keys"
	permission = "permission"
	absent     = "absent-path"
	pins       = "pins"
	served     = "served-path"
	image      = "image-digest"
	systems    = "image-systems"
)

// Assumptions are all assumptions, in the order of docs/publishing.md, which has the same table.
var Assumptions = []Assumption{
	{cacheInfo, "The API describes a cache as JSON with `name`, `uri` and `permission`.", "GET /cache/NAME"},
	{cacheKeys, "`publicSigningKeys` is a list of keys as Nix has them, NAME:BASE64.", "GET /cache/NAME"},
	{permission, "An auth token is a bearer token; its permission is Read, Write or Admin.", "GET /cache/NAME with a token"},
	{absent, "The API answers 404 for a path that the cache does not have.", "HEAD /cache/NAME/DIGEST.narinfo"},
	{pins, "The list of pins has `name` and `lastRevision.storePath`.", "GET /cache/NAME/pin"},
	{served, "A path of the cache has a signed narinfo and a NAR of its size.", "GET and HEAD of a pinned path, as Nix does"},
	{"missing", "A list of digests is answered with those that the cache lacks.", needsPush},
	{"upload", "An upload begins with `narId` and `uploadId`, and can be aborted.", needsPush},
	{"parts", "Each part has a signed URL, and the storage answers with an `ETag`.", needsPush},
	{"complete", "The last request makes the object visible and signed.", needsPush},
	{"complete-again", "A second last request for an object does no harm.", needsPush},
	{"pin", "A pin needs a token, and gets a new revision if it exists.", needsPush},
	{image, "The registry gives the Nix image without an account, and its bytes have the pinned digest.", "GET of the manifest"},
	{systems, "The image is an index with images for x86_64-linux and aarch64-linux.", "GET of the manifest"},
	{"github", "The action and the workflows run on GitHub.", needsGitHub},
}
