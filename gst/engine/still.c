#include "parts.h"
#include <string.h>

// From video's luma and chroma to those of JPEG (JFIF 1.02: BT.601's matrix, full
// range). A change of matrix and range is one linear map. Chroma has a quarter of
// luma's samples, so what it adds to luma is worked out once for four of them.
typedef struct {
  int yy, yu, yv; // luma of luma (10 bits of fraction) and of chroma (6 bits)
  int uu, uv, vu, vv; // 6 bits: products stay within 16, which is what vectors hold most of
} wp_matrix;

static int fixed(double v, int bits) {
  v *= 1 << bits;
  return (int)(v < 0 ? v - 0.5 : v + 0.5);
}

// matrix_of solves for the map: RGB of the source's YUV, and JPEG's YUV of that.
static wp_matrix matrix_of(wp_colour c) {
  double kr = c.kr, kb = c.kb, kg = 1 - kr - kb;
  double sy = c.full ? 1 : 255.0 / 219, sc = c.full ? 1 : 255.0 / 224;
  double ru = 0, rv = 2 * (1 - kr), bu = 2 * (1 - kb), bv = 0;
  double gu = -bu * kb / kg, gv = -rv * kr / kg;
  const double r6 = 0.299, g6 = 0.587, b6 = 0.114;
  double yu = r6 * ru + g6 * gu + b6 * bu, yv = r6 * rv + g6 * gv + b6 * bv;
  wp_matrix m;
  m.yy = fixed(sy, 10);
  m.yu = fixed(yu * sc, 6);
  m.yv = fixed(yv * sc, 6);
  m.uu = fixed((bu - yu) / (2 * (1 - b6)) * sc, 6);
  m.uv = fixed((bv - yv) / (2 * (1 - b6)) * sc, 6);
  m.vu = fixed((ru - yu) / (2 * (1 - r6)) * sc, 6);
  m.vv = fixed((rv - yv) / (2 * (1 - r6)) * sc, 6);
  return m;
}

static inline guint8 clamp8(int v) { return v < 0 ? 0 : v > 255 ? 255 : (guint8)v; }

// Chroma of a row, and what it adds to luma. step is 2 where U and V take turns.
static void chroma_row(const wp_matrix *m, const guint8 *restrict u, const guint8 *restrict v, int step, int n,
                       guint8 *restrict du, guint8 *restrict dv, gint16 *restrict add) {
  const gint16 uu = m->uu, uv = m->uv, vu = m->vu, vv = m->vv, yu = m->yu, yv = m->yv;
  if (step == 2) {
    for (int i = 0; i < n; i++) {
      gint16 a = (gint16)(u[2 * i] - 128), b = (gint16)(u[2 * i + 1] - 128);
      du[i] = clamp8(((uu * a + uv * b + 32) >> 6) + 128);
      dv[i] = clamp8(((vu * a + vv * b + 32) >> 6) + 128);
      add[i] = (gint16)((yu * a + yv * b + 32) >> 6);
    }
    return;
  }
  for (int i = 0; i < n; i++) {
    gint16 a = (gint16)(u[i] - 128), b = (gint16)(v[i] - 128);
    du[i] = clamp8(((uu * a + uv * b + 32) >> 6) + 128);
    dv[i] = clamp8(((vu * a + vv * b + 32) >> 6) + 128);
    add[i] = (gint16)((yu * a + yv * b + 32) >> 6);
  }
}

static void luma_row(int scale, int off, const guint8 *restrict s, const gint16 *restrict add, int w, guint8 *restrict d) {
  int n = w / 2;
  for (int i = 0; i < n; i++) {
    int a = add[i];
    d[2 * i] = clamp8((((s[2 * i] - off) * scale + 512) >> 10) + a);
    d[2 * i + 1] = clamp8((((s[2 * i + 1] - off) * scale + 512) >> 10) + a);
  }
  if (w & 1) d[w - 1] = clamp8((((s[w - 1] - off) * scale + 512) >> 10) + add[n]);
}

// pad_row repeats a row's last pixel up to a whole number of blocks, for which there is
// room: what lies behind the picture goes into its last block, and would show.
static void pad_row(guint8 *d, int w, int block) {
  if (w % block) memset(d + w, d[w - 1], (size_t)(block - w % block));
}

int wp_still_colours(wp_frame *dst, wp_frame *src) {
  GstVideoFrame *a = &src->vf, *b = &dst->vf;
  int w = GST_VIDEO_FRAME_WIDTH(a), h = GST_VIDEO_FRAME_HEIGHT(a), cw = (w + 1) / 2;
  int nv12 = GST_VIDEO_FRAME_FORMAT(a) == GST_VIDEO_FORMAT_NV12;
  if (!nv12 && GST_VIDEO_FRAME_FORMAT(a) != GST_VIDEO_FORMAT_I420) return 0;
  wp_colour c = wp_colour_of(&a->info);
  wp_matrix m = matrix_of(c);
  gint16 *add = g_new(gint16, cw);
  for (int y = 0; y < h; y++) {
    guint8 *dy = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(b, 0) + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(b, 0);
    if (!(y & 1)) {
      guint8 *du = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(b, 1) + (gsize)(y / 2) * GST_VIDEO_FRAME_PLANE_STRIDE(b, 1);
      guint8 *dv = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(b, 2) + (gsize)(y / 2) * GST_VIDEO_FRAME_PLANE_STRIDE(b, 2);
      const guint8 *u = (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(a, 1) + (gsize)(y / 2) * GST_VIDEO_FRAME_PLANE_STRIDE(a, 1);
      const guint8 *v = nv12 ? NULL
                             : (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(a, 2) + (gsize)(y / 2) * GST_VIDEO_FRAME_PLANE_STRIDE(a, 2);
      chroma_row(&m, u, v, nv12 ? 2 : 1, cw, du, dv, add);
      pad_row(du, cw, 8);
      pad_row(dv, cw, 8);
    }
    luma_row(m.yy, c.full ? 0 : 16, (guint8 *)GST_VIDEO_FRAME_PLANE_DATA(a, 0) + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(a, 0), add, w, dy);
    pad_row(dy, w, 16);
  }
  g_free(add);
  return 1;
}
