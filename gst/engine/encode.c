#include "parts.h"
#include <string.h>

void wp_raw_caps(void *src, wp_frame *f, int fps_n, int fps_d) {
  GstVideoInfo info = f->vf.info;
  info.fps_n = fps_n;
  info.fps_d = fps_d;
  // Frames come from caps without a rate, which count as variable: that would
  // put 0/1 into these, and encoders, parsers and muxers would guess.
  GST_VIDEO_INFO_FLAG_UNSET(&info, GST_VIDEO_FLAG_VARIABLE_FPS);
  GstCaps *caps = gst_video_info_to_caps(&info);
  gst_app_src_set_caps(GST_APP_SRC(src), caps);
  gst_caps_unref(caps);
}

guint64 wp_src_level(void *src) { return gst_app_src_get_current_level_buffers(GST_APP_SRC(src)); }

static GstPadProbeReturn pass_eos(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)data;
  GstEvent *ev = GST_PAD_PROBE_INFO_EVENT(info);
  if (GST_EVENT_TYPE(ev) != GST_EVENT_EOS) return GST_PAD_PROBE_OK;
  GstElement *enc = gst_pad_get_parent_element(pad);
  GstPad *src = enc ? gst_element_get_static_pad(enc, "src") : NULL;
  if (src) {
    gst_pad_push_event(src, gst_event_ref(ev));
    gst_object_unref(src);
  }
  if (enc) gst_object_unref(enc);
  return src ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

void wp_pass_eos(void *enc) {
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(enc), "sink");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, pass_eos, NULL, NULL);
  gst_object_unref(pad);
}

int wp_push_frame(void *src, wp_frame *f, int sole, gint64 pts, gint64 duration) {
  GstBuffer *b;
  if (sole) {
    gst_video_frame_unmap(&f->vf);
    b = gst_buffer_make_writable(f->buf);
    g_free(f);
  } else {
    b = gst_buffer_copy(f->buf);
  }
  GST_BUFFER_PTS(b) = (GstClockTime)pts;
  GST_BUFFER_DTS(b) = GST_CLOCK_TIME_NONE;
  GST_BUFFER_DURATION(b) = duration > 0 ? (GstClockTime)duration : GST_CLOCK_TIME_NONE;
  GST_BUFFER_OFFSET(b) = GST_BUFFER_OFFSET_NONE;
  GST_BUFFER_FLAG_UNSET(b, GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_CORRUPTED | GST_BUFFER_FLAG_DELTA_UNIT);
  return gst_app_src_push_buffer(GST_APP_SRC(src), b) == GST_FLOW_OK ? 0 : -1;
}

int wp_pull_packet(void *sink, guint64 timeout_ns, wp_packet *out) {
  memset(out, 0, sizeof *out);
  GstSample *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), timeout_ns);
  if (!sample) return gst_app_sink_is_eos(GST_APP_SINK(sink)) ? -1 : 0;
  GstBuffer *buf = gst_sample_get_buffer(sample);
  if (!buf || !gst_buffer_map(buf, &out->map, GST_MAP_READ)) {
    gst_sample_unref(sample);
    return 0;
  }
  out->buf = gst_buffer_ref(buf);
  // Not the bare timestamp: x264enc moves its segment to have room for DTS.
  out->pts = wp_running(gst_sample_get_segment(sample), GST_BUFFER_PTS(buf));
  out->keyframe = !GST_BUFFER_FLAG_IS_SET(buf, GST_BUFFER_FLAG_DELTA_UNIT);
  gst_sample_unref(sample);
  return 1;
}

void *wp_packet_data(wp_packet *p) { return p->map.data; }
gsize wp_packet_size(wp_packet *p) { return p->map.size; }

void wp_packet_clear(wp_packet *p) {
  gst_buffer_unmap(p->buf, &p->map);
  gst_buffer_unref(p->buf);
  p->buf = NULL;
}

void wp_force_keyframe(void *sink, guint count) {
  gst_element_send_event(GST_ELEMENT(sink),
                         gst_video_event_new_upstream_force_key_unit(GST_CLOCK_TIME_NONE, TRUE, count));
}
