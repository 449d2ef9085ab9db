package boxtest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// Processes are all but the control process that were started with this box's
// data folder: its workers. Zombies do not count.
func (b *Box) Processes() (pids []int) {
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	for _, path := range list {
		cmd, err := os.ReadFile(path)
		if err != nil || !argument(cmd, b.Data) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && pid != b.PID() {
			pids = append(pids, pid)
		}
	}
	return pids
}

func argument(cmdline []byte, want string) bool {
	for _, a := range bytes.Split(cmdline, []byte{0}) {
		if string(a) == want {
			return true
		}
	}
	return false
}

// Alive tells whether a process runs; zombies do not.
func Alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// "pid (name) state …"; the name may hold anything, so look behind it.
	i := bytes.LastIndexByte(stat, ')')
	return i > 0 && len(stat) > i+2 && stat[i+2] != 'Z' && stat[i+2] != 'X'
}

// commandLine of a process, as everybody on the machine sees it.
func commandLine(pid int) string {
	cmd, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err != nil {
		return ""
	}
	return string(bytes.ReplaceAll(cmd, []byte{0}, []byte{' '}))
}
