package plan

// CapsField is the value of a field in caps in text, without its type; empty if
// there is no such field.
func CapsField(caps, name string) string { return field(caps, name) }
