package compare

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Days and months, as date writes them, by language. The first is that of the locale C.
var calendars = [][]string{
	{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"},
	{"januar", "februar", "märz", "april", "mai", "juni", "juli", "august", "september", "oktober", "november", "dezember", "montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag"},
	{"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre", "lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"},
	{"enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre", "lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"},
	{"gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno", "luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre", "lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"},
	{"janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto", "setembro", "outubro", "novembro", "dezembro", "segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo"},
	{"januari", "februari", "maart", "april", "mei", "juni", "juli", "augustus", "september", "oktober", "november", "december", "maandag", "dinsdag", "woensdag", "donderdag", "vrijdag", "zaterdag", "zondag"},
}

// monthOrDay matches one of them beside a number: "5. März", "Mar  5", "Donnerstag 05". Alone, too many of them are
// other words as well, and so are their abbreviations.
var monthOrDay = func() *regexp.Regexp {
	const word, gap = `\pL{2,12}`, `[.,]? {1,2}`
	return regexp.MustCompile(`\b\d{1,4}` + gap + word + `|(?:^|[^\pL])` + word + gap + `\d{1,4}\b`)
}()

// differInLanguage says that two words are months or days, and that no calendar has both.
func differInLanguage(a, b string) bool {
	a, b = word(a), word(b)
	known := false
	for _, c := range calendars {
		hasA, hasB := inCalendar(c, a), inCalendar(c, b)
		if hasA && hasB {
			return false
		}
		known = known || hasA
	}
	return known && slices.ContainsFunc(calendars, func(c []string) bool { return inCalendar(c, b) })
}

// word returns the letters of a match.
func word(s string) string {
	return strings.ToLower(strings.TrimFunc(s, func(r rune) bool { return !unicode.IsLetter(r) }))
}

// inCalendar says that a word is one of a calendar, or an abbreviation of one: of two letters at least, as in Dutch.
func inCalendar(calendar []string, word string) bool {
	return len(word) >= 2 && slices.ContainsFunc(calendar, func(known string) bool {
		return known == word || len(word) <= 5 && strings.HasPrefix(known, word)
	})
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
