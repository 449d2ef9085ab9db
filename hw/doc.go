// Package hw finds out what this box has: video decoders and encoders, the model
// runtime's providers, cameras.
//
// It believes nothing that it did not see work. A decoder is used only after it
// turned a clip (package clips) into the pictures that are in it: drivers exist that
// register for a codec and then give out green, their own test picture, or nothing.
// What was refused is kept with the reason.
//
// A candidate may crash or hang. Survey therefore lets other processes do the proving
// (Children), each piece of hardware in one of its own, and is itself run in a process
// apart from the control process (RunSurvey), which only ever reads its report.
//
// The package knows GStreamer elements by name only. Whoever has GStreamer in
// hand implements Prover.
package hw
