package compare

import "slices"

// Cause is why bytes differ between two builds of one derivation.
type Cause string

// The causes, in the order in which a report names them.
const (
	ArchiveTime Cause = "archive time"
	Timestamp   Cause = "timestamp"
	BuildPath   Cause = "build path"
	Permissions Cause = "permissions"
	Owner       Cause = "owner"
	Address     Cause = "address"
	RandomID    Cause = "random id"
	Ordering    Cause = "ordering"
)

// causes has for each cause what it means, and what usually fixes it.
var causes = []struct {
	cause        Cause
	explain, fix string
}{
	{
		ArchiveTime, "the header of an archive or a compressed file has the time at which a file was written",
		"tar --mtime=@$SOURCE_DATE_EPOCH --sort=name; gzip -n; ar D (strip and ranlib have this option too); touch the files, then zip -X",
	},
	{
		Timestamp, "the file contains the time of the build",
		"take the time from SOURCE_DATE_EPOCH, or remove it; in C: no __DATE__ and no __TIME__",
	},
	{
		BuildPath, "the file contains the path of the build directory",
		"build in the sandbox, where the path is always /build; -ffile-prefix-map=$PWD=. for C, --remap-path-prefix for Rust, -trimpath for Go",
	},
	{
		Permissions, "the header of an archive has permissions that depend on the umask or the file system of the build",
		"set them: install -m, chmod, tar --mode=u=rwX,go=rX",
	},
	{
		Owner, "the header of an archive has the user or group of the build",
		"tar --owner=0 --group=0 --numeric-owner; ar D",
	},
	{
		Address, "the file contains a memory address; it is different in each process",
		"do not print or hash pointers; sort by name, not by address",
	},
	{
		RandomID, "the file contains a random UUID",
		"compute it from the data that it identifies, or use a fixed seed",
	},
	{
		Ordering, "both files have the same lines or members in different order: the order of a directory, a hash table or parallel jobs",
		"sort before writing: LC_ALL=C sort; find … | sort; tar --sort=name",
	},
}

func (c Cause) rank() int {
	for i, known := range causes {
		if known.cause == c {
			return i
		}
	}
	return len(causes)
}

// causesOf returns each cause that has evidence once, in the order of the constants.
func causesOf(evidence []Evidence) []Cause {
	var found []Cause
	for _, e := range evidence {
		if !slices.Contains(found, e.Cause) {
			found = append(found, e.Cause)
		}
	}
	slices.SortFunc(found, func(a, b Cause) int { return a.rank() - b.rank() })
	return found
}
