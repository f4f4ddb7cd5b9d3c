package report_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// screen emulates the parts of a terminal that a reporter uses. It does not scroll: it has as many rows as needed.
// It wraps lines by its present width, as terminals do that reflow when they are resized.
// It panics on other control sequences, so that reporters do not use them.
type screen struct {
	mu            sync.Mutex
	columns, rows int
	lines         [][]rune
	row, column   int // of the cursor, in lines and not in rows of the screen
	cursor        bool
	writes        int
	failing       int // writes that are still to fail
}

func newScreen(columns, rows int) *screen {
	return &screen{columns: columns, rows: rows, lines: make([][]rune, 1), cursor: true}
}

func (s *screen) size() (columns, rows int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.columns, s.rows
}

func (s *screen) resize(columns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.columns = columns
}

// fail makes the next n writes fail.
func (s *screen) fail(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = n
}

// text returns the text on the screen, without white space at the ends.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out strings.Builder
	for _, line := range s.lines {
		out.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimLeft(strings.TrimRight(out.String(), "\n")+"\n", "\n")
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing > 0 {
		s.failing--
		return 0, os.ErrClosed
	}
	s.writes++
	for text := []rune(string(p)); len(text) > 0; {
		text = text[s.step(text):]
	}
	return len(p), nil
}

// step executes the first character or control sequence of a text, and returns its length.
func (s *screen) step(text []rune) int {
	switch text[0] {
	case '\n':
		s.row, s.column = s.row+1, 0
		if s.row == len(s.lines) {
			s.lines = append(s.lines, nil)
		}
	case '\r':
		s.column = 0
	case '\x1b':
		return s.control(text)
	default:
		line := s.lines[s.row]
		for len(line) <= s.column {
			line = append(line, ' ')
		}
		line[s.column] = text[0]
		s.lines[s.row] = line
		s.column++
	}
	return 1
}

func (s *screen) control(text []rune) int {
	end := 2
	for text[end] < '@' {
		end++
	}
	argument := string(text[2:end])
	switch sequence := argument + string(text[end]); {
	case sequence == "?25l" || sequence == "?25h":
		s.cursor = text[end] == 'h'
	case sequence == "?2026h" || sequence == "?2026l" || text[end] == 'm':
	case sequence == "J":
		s.lines[s.row] = s.lines[s.row][:min(s.column, len(s.lines[s.row]))]
		s.lines = s.lines[:s.row+1]
	case text[end] == 'A':
		up, err := strconv.Atoi(argument)
		if err != nil {
			panic(err)
		}
		s.up(up)
	default:
		panic(fmt.Sprintf("unknown control sequence %q", sequence))
	}
	return end + 1
}

// up moves the cursor up by rows of the screen. The cursor is on the last row of its line.
func (s *screen) up(rows int) {
	rows -= s.height(s.row) - 1
	for ; rows > 0; rows -= s.height(s.row) {
		s.row--
	}
	if rows != 0 {
		panic("the cursor is in the middle of a line that has wrapped")
	}
	s.column = 0
}

// height is the number of rows of a line.
func (s *screen) height(row int) int {
	return max(1, (len(s.lines[row])+s.columns-1)/s.columns)
}
