package session

import (
	"testing"
	"testing/synctest"
	"time"
)

// A peer that has closed its channels and stays connected holds no place for ever.
func TestPeerWithoutChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan time.Time, 8)
		ses := &session{channels: 2, ended: func(string) { ended <- time.Now() }}
		ses.expect(setupTime)
		time.Sleep(setupTime + time.Second)
		ses.release()
		time.Sleep(time.Hour)
		if len(ended) > 0 {
			t.Fatal("it ended with a channel open")
		}
		ses.release()
		last := time.Now()
		time.Sleep(time.Hour)
		if len(ended) != 1 || (<-ended).Sub(last) != idleTime {
			t.Errorf("it did not end %v after its last channel", idleTime)
		}
	})
}
