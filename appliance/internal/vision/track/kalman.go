package track

import (
	"math"
	"time"

	"github.com/watchpost/watchpost/appliance/internal/vision"
)

// The state of ByteTrack's filter is the box and its rate of change, with noise
// that is independent for each coordinate. Its 8x8 matrices are then block
// diagonal, and the filter is exactly four filters of two states each, one for
// the centre's x and y, the width and the height. That is what is computed here.
//
// Noise is proportional to the size of the object (a box of 200 pixels jitters
// ten times as much as one of 20) and given per second, as white noise on the
// acceleration, instead of per frame.
const (
	// measureNoise is the standard deviation of a detected edge, as a part of
	// the object's size.
	measureNoise = 0.045
	// turnNoise is how much the velocity wanders, in sizes per second within
	// one second: about what a walking person does who turns or stops.
	turnNoise = 1.6
	// growNoise is the same for width and height, which change more slowly.
	growNoise = 0.6
	// firstSpeed is the standard deviation of the unknown speed of an object
	// seen once, in sizes per second.
	firstSpeed = 3.0
	// firstGrowth is the same for width and height.
	firstGrowth = 0.6
	// driftNoise keeps the filter from believing a position without limit.
	driftNoise = 0.05
)

// Objects do not go straight on for ever: from these times on, the predicted
// movement of an unsupported track runs out.
const (
	straightMove = 0.6  // seconds
	straightGrow = 0.15 // seconds
)

// axis is one coordinate: value and rate (per second), and their covariance.
type axis struct {
	x, v       float64
	xx, xv, vv float64
}

func newAxis(x, noise, speed float64) axis {
	return axis{x: x, xx: noise * noise, vv: speed * speed}
}

// after moves the axis by dt seconds. q is the spectral density of the
// acceleration noise; reach is the time after which movement runs out.
func (a axis) after(dt, q, drift, reach float64) axis {
	a.x += a.v * travel(dt, reach)
	dt = math.Abs(dt)
	a.xx += 2*a.xv*dt + a.vv*dt*dt + q*dt*dt*dt/3 + drift*dt
	a.xv += a.vv*dt + q*dt*dt/2
	a.vv += q * dt
	return a
}

// grown is after for a width or height, which never halves or doubles by
// prediction alone.
func (a axis) grown(dt float64) axis {
	b := a.after(dt, sq(growNoise*a.x), sq(driftNoise*a.x), straightGrow)
	b.x = math.Max(within(b.x, a.x/2, a.x*2), 1)
	return b
}

// seen corrects the axis by a measured value with variance r.
func (a axis) seen(z, r float64) axis {
	s := a.xx + r
	if s <= 0 {
		return a
	}
	kx, kv := a.xx/s, a.xv/s
	d := z - a.x
	a.x += kx * d
	a.v += kv * d
	a.vv -= kv * a.xv
	a.xv -= kx * a.xv
	a.xx -= kx * a.xx
	return a
}

// travel is how many seconds' worth of movement happen in dt seconds: all of it
// at first, then less and less, never more than twice reach.
func travel(dt, reach float64) float64 {
	switch {
	case dt > reach:
		return reach + reach*(1-math.Exp(-(dt-reach)/reach))
	case dt < -reach:
		return -reach
	}
	return dt
}

// body is the filter of one object: always the estimate at the time of its last
// support, so that a prediction never builds on a prediction.
type body struct {
	cx, cy, w, h axis
}

// scale is the size that the noise of the centre is proportional to.
func (b *body) scale() float64 {
	return math.Sqrt(math.Max(b.w.x, 1) * math.Max(b.h.x, 1))
}

func newBody(box vision.Box) body {
	w, h := math.Max(float64(box.Width()), 1), math.Max(float64(box.Height()), 1)
	s := math.Sqrt(w * h)
	return body{
		cx: newAxis(float64(box.X0)+w/2, measureNoise*w, firstSpeed*s),
		cy: newAxis(float64(box.Y0)+h/2, measureNoise*h, firstSpeed*s),
		w:  newAxis(w, measureNoise*w, firstGrowth*w),
		h:  newAxis(h, measureNoise*h, firstGrowth*h),
	}
}

// after returns the estimate dt later.
func (b body) after(dt time.Duration) body {
	t, s := dt.Seconds(), b.scale()
	q, drift := sq(turnNoise*s), sq(driftNoise*s)
	b.cx = b.cx.after(t, q, drift, straightMove)
	b.cy = b.cy.after(t, q, drift, straightMove)
	b.w = b.w.grown(t)
	b.h = b.h.grown(t)
	return b
}

// seen corrects the estimate by a detection. trust is below 1 for detections
// that are likely to show a part of the object only.
func (b body) seen(box vision.Box, trust float64) body {
	w, h := float64(box.Width()), float64(box.Height())
	rw, rh := sq(measureNoise*w/trust), sq(measureNoise*h/trust)
	b.cx = b.cx.seen(float64(box.X0)+w/2, rw)
	b.cy = b.cy.seen(float64(box.Y0)+h/2, rh)
	b.w = b.w.seen(w, 2*rw)
	b.h = b.h.seen(h, 2*rh)
	b.w.x, b.h.x = math.Max(b.w.x, 1), math.Max(b.h.x, 1)
	return b
}

// boxAfter is where the object is dt later, without the covariances.
func (b *body) boxAfter(dt time.Duration) vision.Box {
	t := dt.Seconds()
	move, grow := travel(t, straightMove), travel(t, straightGrow)
	cx, cy := b.cx.x+b.cx.v*move, b.cy.x+b.cy.v*move
	w := within(b.w.x+b.w.v*grow, b.w.x/2, b.w.x*2)
	h := within(b.h.x+b.h.v*grow, b.h.x/2, b.h.x*2)
	return vision.Box{
		X0: float32(cx - w/2), Y0: float32(cy - h/2),
		X1: float32(cx + w/2), Y1: float32(cy + h/2),
	}
}

// doubt is the standard deviation of the centre, in sizes.
func (b *body) doubt() float64 {
	return math.Sqrt(math.Max(b.cx.xx, b.cy.xx)) / b.scale()
}

// resize maps the estimate to a frame of another size.
func (b *body) resize(fx, fy float64) {
	b.cx.stretch(fx)
	b.w.stretch(fx)
	b.cy.stretch(fy)
	b.h.stretch(fy)
}

func (a *axis) stretch(f float64) {
	a.x *= f
	a.v *= f
	a.xx *= f * f
	a.xv *= f * f
	a.vv *= f * f
}

func sq(x float64) float64 { return x * x }

func within(x, lo, hi float64) float64 { return math.Min(math.Max(x, lo), hi) }
