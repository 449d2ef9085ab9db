// Package config owns the one YAML file of a box: its shape, its defaults, its
// JSON Schema, and the errors that tell an operator where and how it is wrong.
//
// Loading is strict: an unknown key, a wrong type, a value out of range or an
// id used twice is an error with file, line, column and a suggestion, and all
// problems of a file are reported at once. What was loaded is valid; nobody
// else checks again. Sources may hold credentials: no error of this package
// quotes them, and who logs one shows Redact of it.
//
// Anchors, aliases and tags of YAML are refused, so that a value stands where
// it is used and a small file cannot become a large one.
package config
