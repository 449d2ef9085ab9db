package workflow

import (
	"fmt"
	"strconv"
	"strings"
)

// Refusal says why a request is not carried out: which field, what was expected,
// what there is.
type Refusal struct {
	// Field is the JSON path from the request's root, as in
	// workflow_configuration.workflow_specification.steps[2].type.
	Field   string
	Message string
	// Expected and Available may be empty.
	Expected  string
	Available []string
}

// maxAvailable bounds how many names a refusal lists.
const maxAvailable = 128

func (r *Refusal) Error() string {
	var b strings.Builder
	if r.Field != "" {
		b.WriteString(r.Field + ": ")
	}
	b.WriteString(r.Message)
	if r.Expected != "" {
		b.WriteString("; expected: " + r.Expected)
	}
	if len(r.Available) > 0 {
		b.WriteString("; available: " + strings.Join(r.Available, ", "))
	}
	return b.String()
}

func refuse(field, format string, args ...any) *Refusal {
	return &Refusal{Field: field, Message: fmt.Sprintf(format, args...)}
}

// want adds what would have been right.
func (r *Refusal) want(expected string) *Refusal {
	r.Expected = expected
	return r
}

// have adds what there is.
func (r *Refusal) have(names []string) *Refusal {
	r.Available = names
	if n := len(names) - maxAvailable; n > 0 {
		r.Available = append(names[:maxAvailable:maxAvailable], "and "+strconv.Itoa(n)+" more")
	}
	return r
}
