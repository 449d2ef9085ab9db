// Package container tells from the first bytes of a file that is still arriving
// what it is, whether its pictures can be decoded as they come, and if that cannot
// be told yet, how much of it must be there first.
//
// It reads bytes from outside: it never reads beyond what is there, never
// allocates by what a header claims, and looks at a bounded number of boxes.
package container
