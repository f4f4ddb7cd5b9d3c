package compare

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Days and months, as date writes them, by language. The first is that of the locale C.
var calendars = [][]string{
	{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu", "fri", "sat", "sun"},
	{"jan", "feb", "mär", "apr", "mai", "jun", "jul", "aug", "sep", "okt", "nov", "dez", "mo", "di", "mi", "do", "fr", "sa", "so"},
	{"janv", "févr", "mars", "avril", "mai", "juin", "juil", "août", "sept", "oct", "nov", "déc", "lun", "mar", "mer", "jeu", "ven", "sam", "dim"},
	{"ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic", "lun", "mar", "mié", "jue", "vie", "sáb", "dom"},
	{"gen", "feb", "mar", "apr", "mag", "giu", "lug", "ago", "set", "ott", "nov", "dic", "lun", "mar", "mer", "gio", "ven", "sab", "dom"},
	{"jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez", "seg", "ter", "qua", "qui", "sex", "sáb", "dom"},
	{"jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec", "ma", "di", "wo", "do", "vr", "za", "zo"},
}

// monthOrDay matches any of them, with more letters behind.
var monthOrDay = func() *regexp.Regexp {
	var all []string
	for _, c := range calendars {
		all = append(all, c...)
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return regexp.MustCompile(`(?i)(?:^|[^\pL])(?:` + strings.Join(slices.Compact(all), "|") + `)\pL*`)
}()

// differInLanguage says that no calendar has both words.
func differInLanguage(a, b string) bool {
	a, b = word(a), word(b)
	for _, c := range calendars {
		if inCalendar(c, a) && inCalendar(c, b) {
			return false
		}
	}
	return true
}

func word(s string) string {
	return strings.ToLower(strings.TrimLeftFunc(s, func(r rune) bool { return strings.ContainsRune(" \t,.;:([\"'\x00", r) }))
}

func inCalendar(calendar []string, word string) bool {
	return slices.ContainsFunc(calendar, func(known string) bool { return strings.HasPrefix(word, known) })
}

// oneIsLocale refuses two C's, and a C beside something that is no locale.
func oneIsLocale(a, b string) bool { return strings.Contains(a, "_") || strings.Contains(b, "_") }

// plausibleSeconds says that two numbers may be times of two builds: less than ten years lie between them.
func plausibleSeconds(a, b string) bool {
	x, errA := strconv.ParseInt(a[:10], 10, 64)
	y, errB := strconv.ParseInt(b[:10], 10, 64)
	return errA == nil && errB == nil && len(a)-len(b) < 10 && len(b)-len(a) < 10 && max(x, y)-min(x, y) < 10*yearSeconds
}

const yearSeconds = 366 * 24 * 60 * 60

// onlySeparators says that two numbers have the same digits.
func onlySeparators(a, b string) bool {
	return strings.ReplaceAll(a, ",", ".") == strings.ReplaceAll(b, ",", ".")
}

// randomDigits says that two hexadecimal numbers are as long, and not just two decimal ones that are close.
func randomDigits(a, b string) bool {
	if len(a) != len(b) || unlike(a, b) < 0.5 {
		return false
	}
	return len(a) >= 12 || strings.ContainsAny(a+b, "abcdefABCDEF")
}

// randomLetters says that two words are as long, have hardly a letter in common, and are no words of a language:
// both have two of capitals, small letters and digits in them.
func randomLetters(a, b string) bool {
	return len(a) == len(b) && kinds(a) >= 2 && kinds(b) >= 2 && mixed(a) && mixed(b) && unlike(a, b) >= 0.4
}

// mixed says that a word has a capital or a digit within, as no ordinary word has.
func mixed(s string) bool {
	return strings.ContainsFunc(s[1:], func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' })
}

func kinds(s string) int {
	n := 0
	for _, set := range []string{"0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"} {
		if strings.ContainsAny(s, set) {
			n++
		}
	}
	return n
}

// unlike returns which part of two strings of one length differs.
func unlike(a, b string) float64 {
	n := 0
	for i := range len(a) {
		if a[i] != b[i] {
			n++
		}
	}
	return float64(n) / float64(len(a))
}

// sameUser says that only what is behind the @ differs.
func sameUser(a, b string) bool {
	x, _, _ := strings.Cut(a, "@")
	y, _, _ := strings.Cut(b, "@")
	return x == y
}

// oneIsLocalhost says that one side was built in Nix's sandbox, where this is the name of every machine.
func oneIsLocalhost(a, b string) bool { return a == "localhost" || b == "localhost" }
