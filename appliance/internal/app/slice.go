package app

import (
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// controlSlice is how long the kernel lets a thread of the control process run at a time
// while others wait. It gets as much of a processor as before, in smaller pieces, for
// which it is served sooner (EEVDF, Linux 6.12 and later; older ones take no notice).
// It needs no privilege. worker.Spawner says what it gains.
const controlSlice = 100 * time.Microsecond // the shortest that there is

// wakeSooner shortens the slices of all threads; those to come inherit it.
func wakeSooner(log *slog.Logger) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		log.Debug("the control process keeps the kernel's time slice", "err", err)
		return
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		attr, err := unix.SchedGetAttr(tid, 0)
		if err != nil || attr.Policy != unix.SCHED_NORMAL && attr.Policy != unix.SCHED_BATCH {
			continue // it has just ended, or somebody gave it a policy of its own
		}
		attr.Runtime = uint64(controlSlice)
		if err := unix.SchedSetAttr(tid, attr, 0); err != nil {
			log.Debug("a thread keeps the kernel's time slice", "err", err)
		}
	}
}
