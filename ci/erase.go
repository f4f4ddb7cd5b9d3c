package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// hideMemory prevents other processes of the same user from reading the memory, environment and open files of this
// process, and prevents core dumps: see PR_SET_DUMPABLE(2const). It is called before a secret is read. The kernel resets
// it at execve(2), so child processes are readable; they get no secret.
//
// Processes that may trace all others, such as those of root, can still read it.
func hideMemory() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // it fails for other values alone
}

// eraseEnviron overwrites a variable's value where the kernel has put it when the process was started: those very bytes are
// what /proc/PID/environ shows, to root and to everybody who runs as the same user, whatever the process does to its
// environment since. The block lies beside the stack, in memory that is the process's own to write.
//
// It writes by process_vm_writev(2): after [hideMemory], /proc/self/mem belongs to root.
//
// The environment of the parent process is unchanged.
func eraseEnviron(name string) error {
	start, end, err := environBlock()
	if err != nil {
		return fmt.Errorf("erase %s: %v", name, err)
	}
	block := make([]byte, end-start)
	if err := copyMemory(unix.ProcessVMReadv, block, start); err != nil {
		return fmt.Errorf("erase %s: %v", name, err)
	}
	offset := start
	for variable := range bytes.SplitSeq(block, []byte{0}) {
		if value, ok := bytes.CutPrefix(variable, []byte(name+"=")); ok {
			at := offset + int64(len(variable)-len(value))
			if err := copyMemory(unix.ProcessVMWritev, make([]byte, len(value)), at); err != nil {
				return fmt.Errorf("erase %s: %v", name, err)
			}
		}
		offset += int64(len(variable)) + 1
	}
	return nil
}

// copyMemory copies between a buffer and an address of this process.
func copyMemory(copy func(pid int, local []unix.Iovec, remote []unix.RemoteIovec, flags uint) (int, error), buffer []byte, at int64) error {
	if len(buffer) == 0 {
		return nil
	}
	local := []unix.Iovec{{Base: &buffer[0]}}
	local[0].SetLen(len(buffer))
	n, err := copy(os.Getpid(), local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(buffer)}}, 0)
	if err == nil && n != len(buffer) {
		err = fmt.Errorf("copied %d bytes of %d", n, len(buffer))
	}
	return err
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
