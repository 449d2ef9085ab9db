// Package scene draws the demo that the box shows when there is no camera: a
// street at dusk with people and cars of several sizes and speeds, that cross,
// stop and turn.
//
// It promises: frame n of a size and rate is always the same picture, Truth
// tells where its figures are, and a frame costs a copy of the backdrop and
// little more.
package scene
