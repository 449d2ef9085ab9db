package state

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// The tests that kill a process run this same program as that process.
const childEnv = "WATCHPOST_STATE_TEST_CHILD"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		os.Exit(writeForever(path))
	}
	goleak.VerifyTestMain(m)
}
