// Package accel runs neural networks: it owns the ONNX Runtime shared library
// of the process and the sessions made with it.
//
// The library is loaded at run time, not linked, so that a box without it still
// starts; Open says what to do when it is missing or too old. A Session has its
// input and output tensors allocated once: fill Input, call Run, read Output.
//
// ONNX Runtime keeps one environment per process, so there is at most one open
// Runtime. Sessions are for one goroutine at a time.
package accel
