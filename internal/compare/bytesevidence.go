package compare

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

const (
	minString     = 4
	maxRunsLooked = 24 // in a region
)

// regionEvidence tells what the bytes of a region look like: text, a time, an address, a random value.
func regionEvidence(o Options, r *Region) []Evidence {
	var found []Evidence
	n := min(len(r.A), len(r.B))
	i := int(r.Offset - r.Start)
	for range maxRunsLooked {
		for i < n && r.A[i] == r.B[i] {
			i++
		}
		if i >= n {
			break
		}
		a, b := stringAt(r.A, i), stringAt(r.B, i)
		end := i + run(r.A[i:n], r.B[i:n])
		if len(a) >= minString && len(b) >= minString {
			if text := textEvidence(o, a, b); len(text) > 0 {
				found = append(found, text...)
				if len(a) != len(b) {
					break // what follows has moved
				}
				i = max(end, endOfString(r.A, i))
				continue
			}
		}
		// What is text and no known one is no number either: most words of letters could be a time.
		isString := len(a) >= minString+2 && len(b) >= minString+2
		if e, ok := wordEvidence(r, i, end); ok && !isString {
			found = append(found, e)
		} else if e, ok := randomEvidence(r, i, end); ok {
			found = append(found, e)
		}
		i = end
	}
	for j := range found {
		found[j].Place = r.Place
	}
	return found
}

// stringAt returns the printable text that has index i in it, or nothing.
func stringAt(p []byte, i int) string {
	if !isPrintable(p[i]) {
		return ""
	}
	low := i
	for low > 0 && isPrintable(p[low-1]) {
		low--
	}
	return string(p[low:endOfString(p, i)])
}

func endOfString(p []byte, i int) int {
	for i < len(p) && isPrintable(p[i]) {
		i++
	}
	return i
}

func isPrintable(c byte) bool { return c >= ' ' && c <= '~' || c == '\t' }

// run returns how many bytes from the first on differ, with single bytes between them that do not.
func run(p, q []byte) int {
	end := 0
	for i := range p {
		if p[i] != q[i] {
			end = i + 1
		} else if i-end >= 1 {
			break
		}
	}
	return end
}

// The least and the most that is taken for a time of a build, in seconds since 1970: 2010 to 2036.
const (
	earliest = 1_262_304_000
	latest   = 2_082_758_400
)

// wordEvidence looks for a number in aligned words that have all of the bytes from i to end in them.
func wordEvidence(r *Region, i, end int) (Evidence, bool) {
	first, last := r.Start+int64(i), r.Start+int64(end)
	if at := int(first&^7 - r.Start); last <= first&^7+8 && fits(r, at, 8) {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			a, b := order.Uint64(r.A[at:]), order.Uint64(r.B[at:])
			switch {
			case isPointer(a) && isPointer(b):
				return Evidence{Cause: Address, A: fmt.Sprintf("%#x", a), B: fmt.Sprintf("%#x", b)}, true
			case areTimes(a/1e9, b/1e9):
				return timeEvidence(time.Unix(0, int64(a)), time.Unix(0, int64(b)))
			case areTimes(a/1e6, b/1e6):
				return timeEvidence(time.UnixMicro(int64(a)), time.UnixMicro(int64(b)))
			case areTimes(a/1e3, b/1e3):
				return timeEvidence(time.UnixMilli(int64(a)), time.UnixMilli(int64(b)))
			}
		}
	}
	at := int(first&^3 - r.Start)
	if last > first&^3+4 || !fits(r, at, 4) || r.Place == codeSection || areCharacters(r.A[at:at+4]) && areCharacters(r.B[at:at+4]) {
		return Evidence{}, false
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		// Two bytes of zeros are the end of a short text, rather than a time at that very second.
		if a, b := uint64(order.Uint32(r.A[at:])), uint64(order.Uint32(r.B[at:])); areTimes(a, b) && (a|b)&0xffff != 0 {
			return timeEvidence(time.Unix(int64(a), 0), time.Unix(int64(b), 0))
		}
	}
	return Evidence{}, false
}

// areCharacters says that bytes are characters of a text, in which four of them are no number.
func areCharacters(p []byte) bool {
	return !slices.ContainsFunc(p, func(c byte) bool { return !isPrintable(c) && c != '\n' && c != '\r' })
}

// codeSection holds instructions, in which four bytes are no number.
const codeSection = "section .text"

func fits(r *Region, at, size int) bool {
	return at >= 0 && at+size <= len(r.A) && at+size <= len(r.B)
}

// isPointer says that a number may be where Linux maps stacks, libraries and programs on 64-bit machines.
func isPointer(n uint64) bool {
	high := n >> 40
	return high == 0x7f || high == 0x7e || high == 0x55 || high == 0x56 || high == 0xff && n>>48 == 0
}

// areTimes says that two numbers of seconds are plausible, and less than a year apart.
func areTimes(a, b uint64) bool {
	return a >= earliest && b >= earliest && a <= latest && b <= latest && max(a, b)-min(a, b) < yearSeconds
}

func timeEvidence(a, b time.Time) (Evidence, bool) {
	return Evidence{Cause: Timestamp, A: a.UTC().Format(time.RFC3339Nano), B: b.UTC().Format(time.RFC3339Nano)}, true
}

// A random value has this many bytes at least and at most; longer runs are code, or compressed.
const (
	minRandom = 8
	maxRandom = 64
)

// randomEvidence takes a run of bytes that all differ for a random value, where it stands alone.
func randomEvidence(r *Region, i, end int) (Evidence, bool) {
	size := end - i
	if size < minRandom || size > maxRandom || end+8 > min(len(r.A), len(r.B)) {
		return Evidence{}, false
	}
	if string(r.A[end:end+8]) != string(r.B[end:end+8]) {
		return Evidence{}, false
	}
	if p, q := r.A[i:end], r.B[i:end]; !(looksRandom(p) && looksRandom(q)) {
		return Evidence{}, false
	}
	return Evidence{Cause: RandomID, A: fmt.Sprintf("%x", []byte(r.A[i:end])), B: fmt.Sprintf("%x", []byte(r.B[i:end]))}, true
}

// looksRandom tells random bytes from what has moved in a file: texts with the zeros between them, and numbers, which have
// a byte of 128 or more seldom, or many zeros. Of eight random bytes, all are below 128 once in 256 times.
func looksRandom(p []byte) bool {
	high, zeros := 0, 0
	for _, c := range p {
		switch {
		case c >= 0x80:
			high++
		case c == 0:
			zeros++
		}
	}
	return high > 0 && high >= len(p)/8 && zeros <= len(p)/4
}
