package health

import (
	"bytes"
	"os"
	"strconv"
)

// ResidentBytes is this process's resident memory (proc(5): the second field of
// statm, in pages); 0 where it cannot be read.
func ResidentBytes() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
