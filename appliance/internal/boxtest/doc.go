// Package boxtest runs the whole box from outside, for tests and benchmarks: the
// real binary with its own data folder and real media workers, watched over its
// real interfaces (HTTP, WHEP, /proc).
//
// A Kit is what many boxes of one test run share: the binary, built once, and a
// data folder to copy with the plugin registry warmed and the model installed. A
// Box is one control process. Its Stop is part of every test: it fails when
// anything of the box is left, be it a process or a file.
package boxtest
