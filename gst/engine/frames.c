#include "parts.h"
#include <string.h>

static int plan_format(GstVideoFormat f) {
  switch (f) {
  case GST_VIDEO_FORMAT_I420: return 0;
  case GST_VIDEO_FORMAT_NV12: return 1;
  case GST_VIDEO_FORMAT_RGB: return 2;
  default: return -1;
  }
}

GstVideoFormat wp_video_format(int f) {
  return f == 0 ? GST_VIDEO_FORMAT_I420 : f == 1 ? GST_VIDEO_FORMAT_NV12 : GST_VIDEO_FORMAT_RGB;
}

// Fills in where the pixels are. A plane ends with its memory, which may be
// short of the last row's padding.
void wp_describe(wp_frame *f, wp_picture *out) {
  GstVideoFrame *vf = &f->vf;
  out->frame = f;
  out->format = plan_format(GST_VIDEO_FRAME_FORMAT(vf));
  out->width = GST_VIDEO_FRAME_WIDTH(vf);
  out->height = GST_VIDEO_FRAME_HEIGHT(vf);
  out->planes = MIN((int)GST_VIDEO_FRAME_N_PLANES(vf), 3);
  for (int i = 0; i < out->planes; i++) {
    gint comp[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component(vf->info.finfo, i, comp);
    int rows = GST_VIDEO_FRAME_COMP_HEIGHT(vf, comp[0]);
    out->data[i] = GST_VIDEO_FRAME_PLANE_DATA(vf, i);
    out->stride[i] = GST_VIDEO_FRAME_PLANE_STRIDE(vf, i);
    gsize size = (gsize)out->stride[i] * rows;
    for (int m = 0; m < 4; m++) {
      guint8 *start = vf->map[m].data;
      guint8 *data = out->data[i];
      if (start && data >= start && data < start + vf->map[m].size) {
        size = MIN(size, (gsize)(start + vf->map[m].size - data));
        break;
      }
    }
    out->size[i] = size;
  }
}

void wp_frame_free(wp_frame *f) {
  gst_video_frame_unmap(&f->vf);
  gst_buffer_unref(f->buf);
  g_free(f);
}

// System memory that only this buffer knows. Decoders that predict from a
// frame hold a reference on it, save those whose memory the hardware knows by
// itself: of that nothing is believed.
static gboolean exclusive(GstBuffer *buf) {
  if (!gst_buffer_is_writable(buf)) return FALSE;
  for (guint i = 0; i < gst_buffer_n_memory(buf); i++) {
    GstMemory *m = gst_buffer_peek_memory(buf, i);
    if (!gst_memory_is_type(m, GST_ALLOCATOR_SYSMEM) || GST_MEMORY_IS_READONLY(m) || m->parent ||
        !gst_memory_is_writable(m))
      return FALSE;
  }
  return TRUE;
}

int wp_frame_writable(wp_frame *f, wp_picture *out) {
  if (!f->writable) {
    GstVideoInfo info = f->vf.info;
    if (!exclusive(f->buf)) return 0;
    gst_video_frame_unmap(&f->vf);
    if (!gst_video_frame_map(&f->vf, &info, f->buf,
                             GST_MAP_READWRITE | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)) {
      // Put it back as it was; the caller copies.
      gst_video_frame_map(&f->vf, &info, f->buf, GST_MAP_READ | GST_VIDEO_FRAME_MAP_FLAG_NO_REF);
      return 0;
    }
    f->writable = 1;
  }
  wp_describe(f, out);
  return 1;
}

// JPEG's full range (0-255) becomes video's (16-235, chroma 16-240).
static void compress_plane(guint8 *d, const guint8 *s, int n, int scale, int offset) {
  for (int i = 0; i < n; i++) d[i] = (guint8)(((s[i] * scale + 128) >> 8) + offset);
}

// The other way round: y' = (y-16)*255/219, c' = 128 + (c-128)*255/224.
static void expand_plane(guint8 *d, const guint8 *s, int n, int luma) {
  int scale = luma ? 298 : 291, zero = luma ? 16 : 128, offset = luma ? 0 : 128;
  for (int i = 0; i < n; i++) {
    int v = (((s[i] - zero) * scale + 128) >> 8) + offset;
    d[i] = (guint8)(v < 0 ? 0 : v > 255 ? 255 : v);
  }
}

int wp_frame_copy(wp_frame *dst, wp_frame *src, int range) {
  if (range == WP_RANGE_KEEP) return gst_video_frame_copy(&dst->vf, &src->vf);
  GstVideoFrame *a = &dst->vf, *b = &src->vf;
  for (guint p = 0; p < GST_VIDEO_FRAME_N_PLANES(a); p++) {
    gint comp[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component(a->info.finfo, p, comp);
    int rows = GST_VIDEO_FRAME_COMP_HEIGHT(a, comp[0]);
    int n = GST_VIDEO_FRAME_COMP_WIDTH(a, comp[0]) * GST_VIDEO_FRAME_COMP_PSTRIDE(a, comp[0]);
    // y' = 16 + y*219/255; c' = 128 + (c-128)*224/255 = 15.56 + c*224/255
    int scale = p == 0 ? 220 : 225, offset = p == 0 ? 16 : 16;
    for (int y = 0; y < rows; y++) {
      guint8 *d = (guint8 *)a->data[p] + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(a, p);
      const guint8 *s = (const guint8 *)b->data[p] + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(b, p);
      if (range == WP_RANGE_EXPAND)
        expand_plane(d, s, n, p == 0);
      else
        compress_plane(d, s, n, scale, offset);
    }
  }
  return 1;
}

// Frames of our own.

// Rows have room for whole blocks of so many pixels; 1: for the picture's.
void *wp_pool_new(int format, int width, int height, int max, int block) {
  GstVideoInfo info;
  if (!gst_video_info_set_format(&info, wp_video_format(format), width, height)) return NULL;
  GstCaps *caps = gst_video_info_to_caps(&info);
  GstBufferPool *pool = gst_video_buffer_pool_new();
  GstStructure *config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, info.size, 0, max);
  gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (width % block) {
    GstVideoAlignment align;
    gst_video_alignment_reset(&align);
    align.padding_right = (guint)(block - width % block);
    gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
    gst_buffer_pool_config_set_video_alignment(config, &align);
  }
  gst_caps_unref(caps);
  if (!gst_buffer_pool_set_config(pool, config) || !gst_buffer_pool_set_active(pool, TRUE)) {
    gst_object_unref(pool);
    return NULL;
  }
  return pool;
}

// Frames still out keep the pool alive until they come back.
void wp_pool_free(void *pool) {
  gst_buffer_pool_set_active(GST_BUFFER_POOL(pool), FALSE);
  gst_object_unref(pool);
}

int wp_pool_take(void *pool, wp_picture *out) {
  memset(out, 0, sizeof *out);
  GstBuffer *buf = NULL;
  GstBufferPoolAcquireParams params = {.flags = GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT};
  if (gst_buffer_pool_acquire_buffer(GST_BUFFER_POOL(pool), &buf, &params) != GST_FLOW_OK) return 0;
  GstStructure *config = gst_buffer_pool_get_config(GST_BUFFER_POOL(pool));
  GstCaps *caps = NULL;
  GstVideoInfo info;
  gst_buffer_pool_config_get_params(config, &caps, NULL, NULL, NULL);
  gst_video_info_from_caps(&info, caps);
  gst_structure_free(config);
  wp_frame *f = g_new0(wp_frame, 1);
  f->buf = buf;
  f->writable = 1;
  if (!gst_video_frame_map(&f->vf, &info, buf, GST_MAP_READWRITE | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)) {
    gst_buffer_unref(buf);
    g_free(f);
    return 0;
  }
  wp_describe(f, out);
  return 1;
}
