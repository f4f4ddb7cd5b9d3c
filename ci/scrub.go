package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// scrub overwrites a variable's value where the kernel has put it when the process was started: those very bytes are
// what /proc/PID/environ shows, to root and to everybody who runs as the same user, whatever the process does to its
// environment since. The block lies beside the stack, in memory that is the process's own to write.
//
// An error says that it could not be done. What is in the environment of who has started this process stays there.
func scrub(name string) error {
	start, end, err := environBlock()
	if err != nil {
		return fmt.Errorf("scrub %s: %v", name, err)
	}
	memory, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("scrub %s: %v", name, err)
	}
	defer memory.Close()
	block := make([]byte, end-start)
	if _, err := memory.ReadAt(block, start); err != nil {
		return fmt.Errorf("scrub %s: %v", name, err)
	}
	offset := start
	for variable := range bytes.SplitSeq(block, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(name+"=")); ok {
			at := offset + int64(len(variable)-len(value))
			if _, err := memory.WriteAt(make([]byte, len(value)), at); err != nil {
				return fmt.Errorf("scrub %s: %v", name, err)
			}
		}
		offset += int64(len(variable)) + 1
	}
	return nil
}

// environBlock returns where the environment is that the process was started with: fields 50 and 51 of
// proc_pid_stat(5).
func environBlock() (start, end int64, err error) {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the second field may have spaces in it
	fields := strings.Fields(rest)
	const third = 3 // is the first of these
	if len(fields) <= 51-third {
		return 0, 0, fmt.Errorf("no fields 50 and 51 in /proc/self/stat")
	}
	if start, err = strconv.ParseInt(fields[50-third], 10, 64); err != nil {
		return 0, 0, err
	}
	end, err = strconv.ParseInt(fields[51-third], 10, 64)
	return start, end, err
}
