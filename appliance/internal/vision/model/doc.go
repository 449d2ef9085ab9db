// Package model knows detection models: the card that describes one, the folder
// that they are kept in, and the detector that runs one on pictures.
//
// A model is a folder with model.onnx and card.yaml, or a file x.onnx with its
// card x.yaml beside it; well-known files need no card, it is built in, found
// by the file's sha256. What Install accepts has been loaded, run once and
// decoded; it is in place whole or not at all.
package model
