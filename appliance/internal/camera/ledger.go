package camera

import "github.com/watchpost/watchpost/appliance/internal/worker/link"

// closed is the last ledger of a run that is over: what it had in hand has failed.
func closed(l link.Ledger) link.Ledger {
	l.Failed += l.Pending
	l.Pending = 0
	return l
}

// add sums two runs' ledgers; the sum balances if both do.
func add(a, b link.Ledger) link.Ledger {
	return link.Ledger{
		Decoded:       a.Decoded + b.Decoded,
		Inferred:      a.Inferred + b.Inferred,
		SkippedMotion: a.SkippedMotion + b.SkippedMotion,
		SkippedRate:   a.SkippedRate + b.SkippedRate,
		SkippedHeat:   a.SkippedHeat + b.SkippedHeat,
		Dropped:       a.Dropped + b.Dropped,
		Failed:        a.Failed + b.Failed,
		Pending:       a.Pending + b.Pending,
		PicturesSent:  a.PicturesSent + b.PicturesSent,
		PicturesLate:  a.PicturesLate + b.PicturesLate,
		DecoderErrors: a.DecoderErrors + b.DecoderErrors,
	}
}
