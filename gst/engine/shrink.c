#include "shrink.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// On x86-64 the loops are compiled for AVX2 as well, chosen when the program
// is loaded; arm64 has its vector unit always.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define WP_VECTOR __attribute__((target_clones("avx2", "default")))
#else
#define WP_VECTOR
#endif

// An axis maps n source samples to m outputs: output i is the sum of taps
// samples from first[i] on, weighted; the weights of an output add up to 256.
typedef struct {
  int n, m, taps;
  int *first;
  int16_t *weight; // m x taps
} axis;

struct wp_shrink {
  int interleaved, sw, sh, dw, dh;
  axis lx, ly, cx, cy; // luma and chroma
  int16_t *line;       // one row, averaged vertically; 8.7 fixed point
  int16_t *half;       // one of its two interleaved halves
  uint8_t *y, *u, *v;  // one output row
};

// weigh gives whole weights that add up to 256 to the shares of an output. The
// sums are rounded, not the shares, so that no sample is off by more than one.
static void weigh(const double *share, int taps, int16_t *weight) {
  double sum = 0;
  int given = 0;
  for (int k = 0; k < taps; k++) {
    sum += share[k];
    int upto = (int)floor(sum * 256 + 0.5);
    weight[k] = (int16_t)(upto - given);
    given = upto;
  }
}

static int axis_init(axis *a, int n, int m) {
  double ratio = (double)n / m;
  int need = ratio > 1 ? (int)ceil(ratio) + 1 : 2;
  a->n = n;
  a->m = m;
  // Eight at a time is what a vector register holds.
  a->taps = (need + 7) / 8 * 8;
  a->first = calloc(m, sizeof *a->first);
  a->weight = calloc((size_t)m * a->taps, sizeof *a->weight);
  double *share = calloc(a->taps, sizeof *share);
  if (!a->first || !a->weight || !share) {
    free(share);
    return 0;
  }
  for (int i = 0; i < m; i++) {
    memset(share, 0, a->taps * sizeof *share);
    int first;
    if (ratio > 1) {
      double from = i * ratio, to = (i + 1) * ratio;
      first = (int)from;
      for (int k = 0; k < need && first + k < n; k++) {
        double a0 = fmax(from, first + k), a1 = fmin(to, first + k + 1);
        if (a1 > a0) share[k] = (a1 - a0) / ratio;
      }
    } else {
      double centre = (i + 0.5) * ratio - 0.5;
      first = (int)floor(centre);
      double frac = centre - first;
      if (first < 0) first = 0, frac = 0;
      if (first > n - 2) first = n > 1 ? n - 2 : 0, frac = n > 1 ? 1 : 0;
      share[0] = 1 - frac;
      share[1] = frac;
    }
    a->first[i] = first;
    weigh(share, a->taps, a->weight + (size_t)i * a->taps);
  }
  free(share);
  return 1;
}

static void axis_free(axis *a) {
  free(a->first);
  free(a->weight);
}

wp_shrink *wp_shrink_new(int interleaved, int sw, int sh, int dw, int dh) {
  const int most = 32768;
  if (sw < 1 || sh < 1 || dw < 1 || dh < 1 || sw > most || sh > most || dw > most || dh > most) return NULL;
  wp_shrink *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  s->interleaved = interleaved;
  s->sw = sw, s->sh = sh, s->dw = dw, s->dh = dh;
  int cw = (sw + 1) / 2, ch = (sh + 1) / 2;
  int ok = axis_init(&s->lx, sw, dw) & axis_init(&s->ly, sh, dh) & axis_init(&s->cx, cw, dw) & axis_init(&s->cy, ch, dh);
  // The last output's taps may reach past the row's end, with weight 0.
  size_t row = (size_t)2 * cw + s->lx.taps + s->cx.taps + 16;
  s->line = calloc(row, sizeof *s->line);
  s->half = calloc(row, sizeof *s->half);
  s->y = malloc(dw);
  s->u = malloc(dw);
  s->v = malloc(dw);
  if (!ok || !s->line || !s->half || !s->y || !s->u || !s->v) {
    wp_shrink_free(s);
    return NULL;
  }
  return s;
}

void wp_shrink_free(wp_shrink *s) {
  if (!s) return;
  axis_free(&s->lx);
  axis_free(&s->ly);
  axis_free(&s->cx);
  axis_free(&s->cy);
  free(s->line);
  free(s->half);
  free(s->y);
  free(s->u);
  free(s->v);
  free(s);
}

// down averages the rows of an output row into line, as 8.7 fixed point.
WP_VECTOR static void down(const uint8_t *src, int stride, int width, const axis *a, int i, int16_t *line) {
  uint16_t *acc = (uint16_t *)line;
  const int16_t *w = a->weight + (size_t)i * a->taps;
  int started = 0;
  for (int k = 0; k < a->taps; k++) {
    if (w[k] == 0) continue;
    const uint8_t *row = src + (size_t)(a->first[i] + k) * stride;
    const uint16_t weight = (uint16_t)w[k];
    if (!started) {
      for (int x = 0; x < width; x++) acc[x] = (uint16_t)(row[x] * weight);
      started = 1;
    } else {
      for (int x = 0; x < width; x++) acc[x] = (uint16_t)(acc[x] + row[x] * weight);
    }
  }
  for (int x = 0; x < width; x++) acc[x] >>= 1;
}

// across averages a line into an output row.
#if defined(__SSE2__)
// Four outputs of eight taps at a time: compilers add up each output by itself,
// which takes three times as long.
static void across8(const int16_t *line, const axis *a, uint8_t *out) {
  const __m128i half = _mm_set1_epi32(1 << 14);
  int i = 0;
  for (; i + 4 <= a->m; i += 4) {
    __m128i sum[4];
    for (int k = 0; k < 4; k++) {
      __m128i p = _mm_loadu_si128((const __m128i *)(line + a->first[i + k]));
      __m128i w = _mm_loadu_si128((const __m128i *)(a->weight + (size_t)(i + k) * 8));
      sum[k] = _mm_madd_epi16(p, w);
    }
    // Transpose and add: one lane for each output.
    __m128i lo = _mm_add_epi32(_mm_unpacklo_epi32(sum[0], sum[1]), _mm_unpackhi_epi32(sum[0], sum[1]));
    __m128i hi = _mm_add_epi32(_mm_unpacklo_epi32(sum[2], sum[3]), _mm_unpackhi_epi32(sum[2], sum[3]));
    __m128i all = _mm_add_epi32(_mm_unpacklo_epi64(lo, hi), _mm_unpackhi_epi64(lo, hi));
    all = _mm_srai_epi32(_mm_add_epi32(all, half), 15);
    all = _mm_packus_epi16(_mm_packs_epi32(all, all), all);
    int32_t four = _mm_cvtsi128_si32(all);
    memcpy(out + i, &four, 4);
  }
  for (; i < a->m; i++) {
    const int16_t *p = line + a->first[i], *w = a->weight + (size_t)i * 8;
    int32_t sum = 1 << 14;
    for (int k = 0; k < 8; k++) sum += (int32_t)p[k] * w[k];
    out[i] = (uint8_t)(sum >> 15);
  }
}
#else
static void across8(const int16_t *line, const axis *a, uint8_t *out) {
  for (int i = 0; i < a->m; i++) {
    const int16_t *p = line + a->first[i], *w = a->weight + (size_t)i * 8;
    int32_t sum = 1 << 14;
    for (int k = 0; k < 8; k++) sum += (int32_t)p[k] * w[k];
    out[i] = (uint8_t)(sum >> 15);
  }
}
#endif

WP_VECTOR static void across(const int16_t *line, const axis *a, uint8_t *out) {
  if (a->taps == 8) {
    across8(line, a, out);
    return;
  }
  for (int i = 0; i < a->m; i++) {
    const int16_t *p = line + a->first[i], *w = a->weight + (size_t)i * a->taps;
    int32_t sum = 1 << 14;
    for (int k = 0; k < a->taps; k++) sum += (int32_t)p[k] * w[k];
    out[i] = (uint8_t)(sum >> 15);
  }
}

// matrix is YUV to RGB in 16.16 fixed point.
typedef struct {
  int y, rv, gu, gv, bu, black;
} matrix;

static matrix matrix_of(wp_colour c) {
  double kg = 1 - c.kr - c.kb, one = 1 << 16;
  double luma = c.full ? 1 : 255.0 / 219, chroma = c.full ? 1 : 255.0 / 224;
  matrix m = {
      .y = (int)lround(luma * one),
      .rv = (int)lround(2 * (1 - c.kr) * chroma * one),
      .gu = (int)lround(-2 * (1 - c.kb) * c.kb / kg * chroma * one),
      .gv = (int)lround(-2 * (1 - c.kr) * c.kr / kg * chroma * one),
      .bu = (int)lround(2 * (1 - c.kb) * chroma * one),
      .black = c.full ? 0 : 16,
  };
  return m;
}

static inline uint8_t clamp(int v) { return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v); }

WP_VECTOR static void colour(const uint8_t *restrict y, const uint8_t *restrict u, const uint8_t *restrict v, int n,
                             matrix m, uint8_t *restrict rgb) {
  for (int x = 0; x < n; x++) {
    int l = (y[x] - m.black) * m.y + (1 << 15), cb = u[x] - 128, cr = v[x] - 128;
    rgb[3 * x] = clamp((l + m.rv * cr) >> 16);
    rgb[3 * x + 1] = clamp((l + m.gu * cb + m.gv * cr) >> 16);
    rgb[3 * x + 2] = clamp((l + m.bu * cb) >> 16);
  }
}

WP_VECTOR static void pick(const int16_t *pairs, int n, int odd, int16_t *out) {
  for (int x = 0; x < n; x++) out[x] = pairs[2 * x + odd];
}

void wp_shrink_run(wp_shrink *s, const uint8_t *const planes[3], const int strides[3], wp_colour c,
                   uint8_t *rgb, int rgb_stride) {
  matrix m = matrix_of(c);
  int cw = (s->sw + 1) / 2;
  for (int i = 0; i < s->dh; i++) {
    down(planes[0], strides[0], s->sw, &s->ly, i, s->line);
    across(s->line, &s->lx, s->y);
    if (s->interleaved) {
      down(planes[1], strides[1], 2 * cw, &s->cy, i, s->line);
      pick(s->line, cw, 0, s->half);
      across(s->half, &s->cx, s->u);
      pick(s->line, cw, 1, s->half);
      across(s->half, &s->cx, s->v);
    } else {
      down(planes[1], strides[1], cw, &s->cy, i, s->line);
      across(s->line, &s->cx, s->u);
      down(planes[2], strides[2], cw, &s->cy, i, s->line);
      across(s->line, &s->cx, s->v);
    }
    colour(s->y, s->u, s->v, s->dw, m, rgb + (size_t)i * rgb_stride);
  }
}
