// Package output turns what a detection network puts out into boxes: one
// decoder for each family of networks, and the class-aware non-maximum
// suppression that most of them need.
//
// It is pure Go and knows no model runtime: tensors come in as slices with
// shapes. A decoder checks both and answers with an error that names what it
// expected; no data, NaN and infinities included, makes it panic or return a
// box that is not finite. Boxes are in pixels of the model's input.
package output
