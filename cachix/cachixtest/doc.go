// Package cachixtest is a server of the Cachix API for tests and benchmarks, and to try a push without an account.
//
// One port of the loopback interface has four sides:
//
//	/api/v1/…                      the API: cache info, missing paths, multipart uploads, pins
//	/r2/<NAR id>?X-Amz-…           storage for parts, by presigned URLs
//	/nix-cache-info, /<hash>.narinfo, /nar/<file>   the cache itself, as Nix substitutes from it
//	/put/…                         a plain binary cache that accepts PUT, for nix copy --to http://…/put/
//
// The server is strict: it refuses all requests that Cachix refuses or may refuse, and [Server.Problems] lists each request
// that broke a rule. It verifies each object before it becomes visible. It fails on demand ([Server.Misbehave]).
//
// Cachix has not published a description of its API. The sources of this package are the client of Cachix
// (github.com/cachix/cachix 1.11), answers quoted in public threads, and S3 for the parts. Other details, such as the
// statuses of some refusals, are guesses: a client should rely only on the first digit.
package cachixtest
