#include "parts.h"
#include "shrink.h"

// A scaler is either our own, for what detectors are fed with, or GStreamer's.
struct wp_scaler {
  GstVideoConverter *conv;
  wp_shrink *shrink;
};

wp_scaler *wp_scaler_new(wp_frame *in, int format, int w, int h, int threads) {
  GstVideoFormat from = GST_VIDEO_INFO_FORMAT(&in->vf.info);
  if (format == 2 && (from == GST_VIDEO_FORMAT_I420 || from == GST_VIDEO_FORMAT_NV12)) {
    wp_shrink *shrink = wp_shrink_new(from == GST_VIDEO_FORMAT_NV12, GST_VIDEO_INFO_WIDTH(&in->vf.info),
                                      GST_VIDEO_INFO_HEIGHT(&in->vf.info), w, h);
    if (!shrink) return NULL;
    wp_scaler *s = g_new0(wp_scaler, 1);
    s->shrink = shrink;
    return s;
  }
  GstVideoInfo out;
  if (!gst_video_info_set_format(&out, wp_video_format(format), w, h)) return NULL;
  if (format != 2) out.colorimetry = in->vf.info.colorimetry;
  // A converter changes pixels only: it refuses formats that differ in time.
  out.interlace_mode = in->vf.info.interlace_mode;
  out.fps_n = in->vf.info.fps_n;
  out.fps_d = in->vf.info.fps_d;
  GstStructure *config = gst_structure_new(
      "options", GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD, GST_TYPE_VIDEO_RESAMPLER_METHOD,
      GST_VIDEO_RESAMPLER_METHOD_LINEAR, GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
      GST_TYPE_VIDEO_DITHER_METHOD, GST_VIDEO_DITHER_NONE, GST_VIDEO_CONVERTER_OPT_THREADS,
      G_TYPE_UINT, (guint)MAX(threads, 1), NULL);
  GstVideoConverter *conv = gst_video_converter_new(&in->vf.info, &out, config);
  if (!conv) return NULL;
  wp_scaler *s = g_new0(wp_scaler, 1);
  s->conv = conv;
  return s;
}

// How the frame's YUV is to be read; what says nothing of itself is
// BT.709 from 720 lines on and BT.601 below, as everybody guesses.
wp_colour wp_colour_of(const GstVideoInfo *info) {
  wp_colour c;
  const GstVideoColorimetry *m = &info->colorimetry;
  if (!gst_video_color_matrix_get_Kr_Kb(m->matrix, &c.kr, &c.kb)) {
    int hd = GST_VIDEO_INFO_HEIGHT(info) >= 720;
    c.kr = hd ? 0.2126 : 0.299;
    c.kb = hd ? 0.0722 : 0.114;
  }
  c.full = m->range == GST_VIDEO_COLOR_RANGE_0_255;
  return c;
}

int wp_scaler_run(wp_scaler *s, wp_frame *in, wp_frame *out) {
  if (s->shrink) {
    const uint8_t *planes[3] = {0};
    int strides[3] = {0};
    for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES(&in->vf); i++) {
      planes[i] = GST_VIDEO_FRAME_PLANE_DATA(&in->vf, i);
      strides[i] = GST_VIDEO_FRAME_PLANE_STRIDE(&in->vf, i);
    }
    wp_shrink_run(s->shrink, planes, strides, wp_colour_of(&in->vf.info), GST_VIDEO_FRAME_PLANE_DATA(&out->vf, 0),
                  GST_VIDEO_FRAME_PLANE_STRIDE(&out->vf, 0));
    return 1;
  }
  gst_video_converter_frame(s->conv, &in->vf, &out->vf);
  return 1;
}

void wp_scaler_free(wp_scaler *s) {
  if (s->conv) gst_video_converter_free(s->conv);
  wp_shrink_free(s->shrink);
  g_free(s);
}
