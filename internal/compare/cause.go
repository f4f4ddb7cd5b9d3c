package compare

import "slices"

// Cause is what most likely made bytes differ.
type Cause string

// The causes, the more telling first: this is the order in which a report names them.
const (
	ArchiveTime Cause = "archive time"
	Timestamp   Cause = "timestamp"
	StorePath   Cause = "store path"
	BuildPath   Cause = "build path"
	Hostname    Cause = "hostname"
	Permissions Cause = "umask"
	Owner       Cause = "owner"
	Locale      Cause = "locale"
	Address     Cause = "address"
	RandomID    Cause = "random id"
	Ordering    Cause = "ordering"
	PID         Cause = "pid"
	// Derived bytes are computed from the rest of the file, such as an ELF build ID: their own cause is elsewhere.
	Derived Cause = "derived"
)

// causes has for each cause what it means, and what usually mends it.
var causes = []struct {
	cause         Cause
	explain, mend string
}{
	{
		ArchiveTime, "an archive or a compressed file has in its header when it, or a file in it, was written",
		"tar --mtime=@$SOURCE_DATE_EPOCH --sort=name, gzip -n, ar D (which strip and ranlib take as well), zip -X after touch",
	},
	{
		Timestamp, "the time of the build is in the bytes",
		"take the time from SOURCE_DATE_EPOCH, or leave it out; for C: no __DATE__ and __TIME__",
	},
	{
		StorePath, "the bytes name another store path: another compiler, library or source",
		"see which input differs: nix-store --query --references, or nix-diff of the two derivations",
	},
	{
		BuildPath, "a path of the machine that has built it is in the bytes",
		"build in the sandbox, where it is always /build; -ffile-prefix-map=$PWD=. for C, --remap-path-prefix for Rust, -trimpath for Go",
	},
	{
		Hostname, "the name of the machine that has built it is in the bytes",
		"build in the sandbox, where it is always localhost; leave out what uname -n and hostname say",
	},
	{
		Permissions, "permissions were taken over from the umask or the file system of the build",
		"set them: install -m, chmod, tar --mode=u=rwX,go=rX",
	},
	{
		Owner, "an archive has in its headers who has built it",
		"tar --owner=0 --group=0 --numeric-owner, ar D",
	},
	{
		Locale, "words, numbers or sorting follow the language of the machine that has built it",
		"export LC_ALL=C in the build",
	},
	{
		Address, "the address of something in memory is in the bytes; it differs from process to process",
		"do not print or hash pointers; sort by a name and not by address",
	},
	{
		RandomID, "a random value is in the bytes: an ID, a salt, the name of a temporary file",
		"derive it from what it stands for, or take a fixed seed; for C: -frandom-seed",
	},
	{
		Ordering, "the same is there in another order: that of a directory, a hash table or parallel jobs",
		"sort before writing: LC_ALL=C sort, find … | sort, tar --sort=name",
	},
	{
		PID, "a small number differs, as the number of a process does",
		"leave $$ and getpid out of names and contents",
	},
	{
		Derived, "computed from the rest: a build ID, a checksum",
		"nothing: it is the same when the rest is",
	},
}

// Causes returns all that there are, in the order in which reports name them.
func Causes() []Cause {
	all := make([]Cause, len(causes))
	for i, c := range causes {
		all[i] = c.cause
	}
	return all
}

// Explain returns a sentence on what c means, without a full stop.
func (c Cause) Explain() string {
	if i := c.rank(); i < len(causes) {
		return causes[i].explain
	}
	return ""
}

// Mend returns what usually puts an end to c.
func (c Cause) Mend() string {
	if i := c.rank(); i < len(causes) {
		return causes[i].mend
	}
	return ""
}

func (c Cause) rank() int {
	for i, known := range causes {
		if known.cause == c {
			return i
		}
	}
	return len(causes)
}

// causesOf returns the causes that there is evidence for, each once, the more telling first.
func causesOf(evidence []Evidence) []Cause {
	var found []Cause
	for _, e := range evidence {
		found = append(found, e.Cause)
	}
	slices.SortFunc(found, func(a, b Cause) int { return a.rank() - b.rank() })
	return slices.Compact(found)
}
