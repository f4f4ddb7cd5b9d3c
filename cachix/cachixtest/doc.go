// Package cachixtest is a server of the Cachix API for tests and benchmarks, and for trying a push without an account.
//
// One port of the loopback interface has four sides:
//
//	/api/v1/…                      the API: cache info, missing paths, multipart uploads, pins
//	/r2/<NAR id>?X-Amz-…           storage for parts, by presigned URLs
//	/nix-cache-info, /<hash>.narinfo, /nar/<file>   the cache itself, as Nix substitutes from it
//	/put/…                         a plain binary cache that takes PUT, for nix copy --to http://…/put/
//
// The server is strict: it refuses what Cachix refuses, and what Cachix may refuse for all that is known of it, and
// [Server.Problems] lists each request that broke a rule. It verifies what was pushed before a path can be seen.
// It misbehaves on demand ([Server.Misbehave]).
//
// Cachix has no published description of its API. What this package knows is from the source of its client
// (github.com/cachix/cachix 1.11), from answers quoted in public threads, and from S3 for the parts. Where those say
// nothing, such as the statuses of some refusals, the answer is the likeliest, and a client should rely on no more
// than its first digit.
package cachixtest
