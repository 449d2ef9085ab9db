// Package workflow compiles the workflows of protocol.md into the one analysis
// graph that a box runs: a model, a tracker, and pictures with boxes and labels on
// them.
//
// It is pure: a specification and its parameters come in, a Graph or a Refusal
// goes out. What a box cannot run is refused, by the field's path, with what it
// can; what only changes how a picture looks is noted and left out. Specifications
// come from anybody: size, depth and numbers are bounded before anything of them
// is built.
//
// Store keeps workflows by name, so that a session may say which it means instead
// of sending it.
package workflow
