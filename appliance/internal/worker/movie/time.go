package movie

import "time"

// timescale is the number of ticks in a second: RTP's for video, in which the
// usual frame rates, 29.97 too, are whole numbers of ticks.
const timescale = 90000

// ticks rounds to the nearest tick.
func ticks(d time.Duration) int64 {
	const whole = int64(time.Second)
	s, rest := int64(d)/whole, int64(d)%whole
	return s*timescale + (rest*timescale+whole/2)/whole
}
