package spool

// Dir is the folder of all uploads' bytes. Its methods may be called from any goroutine.
type Dir struct{ path string }

// Open opens the folder, and makes it if there is none.
func Open(path string) (*Dir, error) { panic("soon") }
