package scene

import "math"

// mark is a place on the way of an actor: x in picture widths at t seconds.
type mark struct{ t, x float64 }

// actor goes its way again and again. Sizes are in picture heights.
type actor struct {
	car    bool
	height float64
	ground float64 // where its feet are
	way    []mark  // ends where and when it begins anew
	coat   rgb
	legs   rgb
	skin   rgb
}

// cast is who is in the scene, those in the back first. The rounds are of
// different lengths, so that what meets whom changes.
func cast() []actor {
	skin, dark := rgb{226, 180, 150}, rgb{120, 82, 62}
	return []actor{
		{height: 0.155, ground: 0.635, way: []mark{{0, -0.05}, {10, 0.34}, {13, 0.34}, {31, 1.06}}, coat: rgb{214, 204, 186}, legs: rgb{40, 46, 70}, skin: skin},
		{height: 0.150, ground: 0.642, way: []mark{{0, 0.86}, {12, 0.42}, {14, 0.42}, {26, 0.86}, {27.5, 0.86}}, coat: rgb{226, 96, 80}, legs: rgb{44, 40, 48}, skin: dark},
		{height: 0.105, ground: 0.645, way: []mark{{0, 1.04}, {9, -0.04}, {17, -0.04}}, coat: rgb{246, 208, 90}, legs: rgb{52, 70, 110}, skin: skin},
		{car: true, height: 0.135, ground: 0.745, way: []mark{{0, -0.25}, {5.5, 1.25}, {13, 1.25}}, coat: rgb{208, 216, 226}},
		{car: true, height: 0.165, ground: 0.835, way: []mark{{0, 1.3}, {7, 1.3}, {14, -0.3}, {21, -0.3}}, coat: rgb{206, 74, 62}},
		{height: 0.370, ground: 0.960, way: []mark{{0, 1.1}, {9, 0.56}, {12, 0.56}, {20, 1.1}, {23, 1.1}}, coat: rgb{96, 190, 190}, legs: rgb{30, 34, 48}, skin: skin},
		{height: 0.400, ground: 0.985, way: []mark{{0, -0.1}, {10, 0.4}, {13, 0.4}, {24, 1.1}, {26, 1.1}}, coat: rgb{232, 168, 92}, legs: rgb{58, 62, 84}, skin: dark},
	}
}

// at is where an actor is at time t, in which direction it looks (-1 or 1), and
// how fast it goes (widths a second).
func (a *actor) at(t float64) (x, side, speed float64) {
	end := a.way[len(a.way)-1].t
	t = math.Mod(t, end)
	side = 1
	for i := 1; i < len(a.way); i++ {
		m, n := a.way[i-1], a.way[i]
		if n.x != m.x {
			side = math.Copysign(1, n.x-m.x)
		}
		if t < n.t {
			f := (t - m.t) / (n.t - m.t)
			return m.x + f*(n.x-m.x), side, math.Abs(n.x-m.x) / (n.t - m.t)
		}
	}
	return a.way[len(a.way)-1].x, side, 0
}

// pose appends the parts of the actor at time t on a picture of w x h.
func (a *actor) pose(dst []part, t, w, h float64) []part {
	x, side, speed := a.at(t)
	if a.car {
		return a.drive(dst, x*w, a.ground*h, a.height*h, side, int(h))
	}
	return a.walk(dst, x*w, a.ground*h, a.height*h, side, speed*w, int(h))
}

// walk poses a person of height h with the feet at y. Steps follow the way that
// was gone, so that feet do not slide.
func (a *actor) walk(dst []part, x, y, h, side, speed float64, height int) []part {
	swing, bend := 0.0, 0.0
	if speed > 0 {
		phase := x / (0.42 * h) * math.Pi
		swing, bend = math.Sin(phase), math.Abs(math.Cos(phase))
	}
	coat, legs, skin := tone(a.coat, height), tone(a.legs, height), tone(a.skin, height)
	shade := tone(rgb{a.coat.r * 0.78, a.coat.g * 0.78, a.coat.b * 0.78}, height)
	y -= 0.03 * h
	hip, neck := y-0.46*h+0.012*h*bend, y-0.8*h+0.012*h*bend
	add := func(x0, y0, x1, y1, r float64, c ink) {
		dst = append(dst, part{x + x0*h, y0, x + x1*h, y1, r * h, c})
	}
	leg := func(s float64) {
		knee := 0.10*s + 0.03*side
		add(0.02*s, hip, knee, (hip+y)/2, 0.052, legs)
		foot := 0.17 * s
		lift := 0.03 * h * bend * max(-s*side, 0)
		add(knee, (hip+y)/2, foot, y-lift, 0.042, legs)
		add(foot, y-lift, foot+0.055*side, y-lift, 0.030, legs)
	}
	arm := func(s float64, c ink) {
		add(0, neck+0.05*h, 0.09*s, neck+0.2*h, 0.036, c)
		add(0.09*s, neck+0.2*h, 0.14*s+0.03*side, neck+0.33*h, 0.030, c)
	}
	arm(swing, shade)
	leg(-swing)
	leg(swing)
	add(0, neck+0.055*h, 0, hip, 0.088, coat)
	arm(-swing, shade)
	add(0.012*side, neck-0.02*h, 0.012*side, neck, 0.035, skin)
	add(0.015*side, neck-0.085*h, 0.015*side, neck-0.075*h, 0.066, skin)
	add(-0.012*side, neck-0.108*h, 0.016*side, neck-0.115*h, 0.058, legs)
	return dst
}

// drive poses a car of height h with its wheels at y.
func (a *actor) drive(dst []part, x, y, h, side float64, height int) []part {
	body, glass := tone(a.coat, height), tone(rgb{70, 92, 118}, height)
	low := tone(rgb{a.coat.r * 0.72, a.coat.g * 0.72, a.coat.b * 0.72}, height)
	tyre, rim := tone(rgb{18, 18, 22}, height), tone(rgb{150, 154, 162}, height)
	add := func(x0, y0, x1, y1, r float64, c ink) {
		dst = append(dst, part{x + side*x0*h, y - y0*h, x + side*x1*h, y - y1*h, r * h, c})
	}
	add(-0.62, 0.78, 0.32, 0.78, 0.2, body) // roof
	add(-0.72, 0.62, 0.60, 0.60, 0.14, body)
	add(-0.50, 0.76, -0.12, 0.76, 0.125, glass)
	add(0.14, 0.76, 0.32, 0.74, 0.125, glass)
	add(-1.18, 0.44, 1.16, 0.44, 0.2, body)
	add(-1.20, 0.30, 1.20, 0.30, 0.12, low)
	add(1.22, 0.46, 1.26, 0.44, 0.06, tone(rgb{255, 240, 190}, height))
	add(-1.30, 0.48, -1.30, 0.44, 0.05, tone(rgb{220, 50, 40}, height))
	for _, wheel := range [2]float64{-0.78, 0.78} {
		add(wheel, 0.2, wheel, 0.2, 0.2, tyre)
		add(wheel, 0.2, wheel, 0.2, 0.1, rim)
	}
	return dst
}
