package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// The rights, by what they are given on. Nowhere is the right to execute: the
// loader of shared libraries needs to read them only.
const (
	readFile   = ll.AccessFSReadFile
	readFolder = ll.AccessFSReadFile | ll.AccessFSReadDir
	useDevice  = ll.AccessFSReadFile | ll.AccessFSWriteFile | ll.AccessFSIoctlDev
	fillFolder = readFolder | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg |
		ll.AccessFSMakeDir | ll.AccessFSRemoveFile | ll.AccessFSRemoveDir
)

// handled is everything that Landlock of an ABI can refuse: what no rule gives back
// is refused.
func handled(abi int) (fs landlock.AccessFSSet, net landlock.AccessNetSet, scoped landlock.ScopedSet) {
	fs = ll.AccessFSRefer - 1 // all of ABI 1
	if abi >= abiRefer {
		fs |= ll.AccessFSRefer
	}
	if abi >= abiTruncate {
		fs |= ll.AccessFSTruncate
	}
	if abi >= abiTCP {
		net |= ll.AccessNetBindTCP | ll.AccessNetConnectTCP
	}
	if abi >= abiIoctl {
		fs |= ll.AccessFSIoctlDev
	}
	if abi >= abiScope {
		scoped |= ll.ScopeAbstractUnixSocket | ll.ScopeSignal
	}
	if abi >= abiUnix {
		fs |= ll.AccessFSResolveUnix
	}
	if abi >= abiUDP {
		net |= ll.AccessNetBindUDP | ll.AccessNetConnectSendUDP
	}
	return fs, net, scoped
}

// landlock confines all threads to the policy's paths and the system's.
func (p Policy) landlock(abi int) error {
	rights, net, scoped := handled(abi)
	cfg, err := landlock.NewConfig(rights, net, scoped)
	if err != nil {
		return err
	}
	var rules []landlock.Rule
	add := func(path string, file, folder landlock.AccessFSSet) error {
		st, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
			return nil // not there, or not for this user anyway
		case err != nil:
			return err
		}
		give := file
		if st.IsDir() {
			give = folder
		}
		if give &= rights; give != 0 {
			rules = append(rules, landlock.PathAccess(give, path).IgnoreIfMissing())
		}
		return nil
	}
	var errs []error
	for _, path := range append(systemPaths(), p.Read...) {
		errs = append(errs, add(path, readFile, readFolder))
	}
	for _, path := range devices() {
		errs = append(errs, add(path, useDevice, readFolder|useDevice))
	}
	for _, dir := range p.Write {
		errs = append(errs, add(dir, 0, fillFolder))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("look at the paths to allow: %w", err)
	}
	return cfg.Restrict(rules...)
}
