// Package capsule packs what another machine needs to see a build fail as it failed here into one file, and unpacks it.
//
// The file is a tar archive, compressed by zstd. Its first member, capsule.json, says what failed, and under what
// conditions; the others are exports of derivations with their sources, and the ends of logs. docs/capsule.md has the
// format. A capsule holds no secret, and is believed no further than its contents can be proven.
package capsule
