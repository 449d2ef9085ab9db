// Package camera is the life of one camera: a media worker is started, watched,
// ended and started anew, and through all of it viewers see one continuous
// stream: the camera's picture, or a slate that says why there is none.
//
// It promises that units of two workers never interleave, that presentation
// times go on across workers, that the frame ledger balances over all runs, that
// another camera is never disturbed, and that nothing here waits: pictures pass
// on the worker's own goroutine, decisions are made in one control loop.
package camera
