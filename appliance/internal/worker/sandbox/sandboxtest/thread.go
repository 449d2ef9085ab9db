// Package sandboxtest is for tests of sandboxes: it has a thread that Go knows
// nothing of, as GLib and the model runtime have them, and the system's loader of
// shared libraries.
package sandboxtest

/*
#cgo LDFLAGS: -ldl
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

// A question is one byte, and for an open a path that ends in NUL; an answer is errno.
struct ask { char what; char path[4000]; };
struct thread { int ask[2], answer[2]; pthread_t id; };

static void *serve(void *arg) {
	struct thread *t = arg;
	struct ask a;
	while (read(t->ask[0], &a, sizeof a) == sizeof a) {
		int fd = -1;
		if (a.what == 'o') fd = open(a.path, O_RDONLY | O_CLOEXEC);
		if (a.what == 's') fd = socket(AF_INET, SOCK_DGRAM, 0);
		int err = fd < 0 ? errno : 0;
		if (fd >= 0) close(fd);
		if (write(t->answer[1], &err, sizeof err) != sizeof err) break;
	}
	return NULL;
}

// With every signal blocked that can be, as GLib blocks them in its worker.
static struct thread *start(void) {
	struct thread *t = calloc(1, sizeof *t);
	if (!t || pipe(t->ask) || pipe(t->answer)) return NULL;
	sigset_t all, was;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	int err = pthread_create(&t->id, NULL, serve, t);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	return err ? NULL : t;
}

static int try(struct thread *t, const struct ask *a) {
	int err;
	if (write(t->ask[1], a, sizeof *a) != sizeof *a) return errno;
	if (read(t->answer[0], &err, sizeof err) != sizeof err) return EIO;
	return err;
}

static struct ask *question(char what, const char *path, size_t n) {
	struct ask *a = calloc(1, sizeof *a);
	a->what = what;
	for (size_t i = 0; i < n && i < sizeof a->path - 1; i++) a->path[i] = path[i];
	return a;
}
*/
import "C"

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"
)

// Thread is a thread of C's. It lives as long as the process.
type Thread struct{ c *C.struct_thread }

// Start starts one.
func Start() (*Thread, error) {
	t := C.start()
	if t == nil {
		return nil, errors.New("no thread could be started")
	}
	return &Thread{t}, nil
}

// Open opens a file for reading on that thread, and closes it.
func (t *Thread) Open(path string) error { return t.try('o', path) }

// Socket makes a UDP socket on that thread, and closes it.
func (t *Thread) Socket() error { return t.try('s', "") }

func (t *Thread) try(what byte, path string) error {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	q := C.question(C.char(what), p, C.size_t(len(path)))
	defer C.free(unsafe.Pointer(q))
	if errno := C.try(t.c, q); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// LoadLibrary has the system's loader find and load a shared library.
func LoadLibrary(name string) error {
	n := C.CString(name)
	defer C.free(unsafe.Pointer(n))
	if C.dlopen(n, C.RTLD_NOW) == nil {
		return fmt.Errorf("%s", C.GoString(C.dlerror()))
	}
	return nil
}
