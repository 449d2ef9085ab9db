//go:build !amd64 && !arm64

package sandbox

// There are no tables for this processor: a sandbox is Landlock's alone, and says so.
const (
	filterable = false
	auditArch  = 0
)

func archRules() []rule { return nil }

func archRefused() []uintptr { return nil }
