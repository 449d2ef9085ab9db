// Scaling a 4:2:0 picture down to packed RGB by averaging areas, and up by
// linear interpolation: each output pixel is the mean of the source area that it
// covers. It is what a detector's input is made with, for every frame, so it is
// written for speed: one pass over the source, in 16 bit.
#ifndef WATCHPOST_SHRINK_H
#define WATCHPOST_SHRINK_H

#include <stdint.h>

typedef struct wp_shrink wp_shrink;

// Sizes in pixels; interleaved: the chroma samples of NV12, else of I420.
// NULL: no memory, or a size that is not from 1 to 32768.
wp_shrink *wp_shrink_new(int interleaved, int sw, int sh, int dw, int dh);
void wp_shrink_free(wp_shrink *s);

// How YUV becomes RGB: the matrix's Kr and Kb (ITU-T H.273), and whether luma
// uses all of 0..255.
typedef struct {
  double kr, kb;
  int full;
} wp_colour;

// planes: Y, U, V, or Y, UV; rows stride bytes apart. rgb has dw x dh pixels.
void wp_shrink_run(wp_shrink *s, const uint8_t *const planes[3], const int strides[3], wp_colour colour,
                   uint8_t *rgb, int rgb_stride);

#endif
