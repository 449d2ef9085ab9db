#include "parts.h"
#include <string.h>

// Encoded units: out of a source, and into a decoder.

void wp_sink_orientation(void *sink, char *out, gsize size) {
  out[0] = 0;
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(sink), "sink");
  // Tags of the stream outrank tags of the whole file; there may be several events.
  for (guint i = 0;; i++) {
    GstEvent *ev = gst_pad_get_sticky_event(pad, GST_EVENT_TAG, i);
    if (!ev) break;
    GstTagList *tags = NULL;
    gst_event_parse_tag(ev, &tags);
    gchar *value = NULL;
    if (tags && gst_tag_list_get_string(tags, GST_TAG_IMAGE_ORIENTATION, &value)) {
      if (!out[0] || gst_tag_list_get_scope(tags) == GST_TAG_SCOPE_STREAM)
        g_strlcpy(out, value, size);
      g_free(value);
    }
    gst_event_unref(ev);
  }
  gst_object_unref(pad);
}

gint64 wp_running(const GstSegment *seg, GstClockTime t) {
  if (!GST_CLOCK_TIME_IS_VALID(t)) return WP_NONE;
  if (!seg || seg->format != GST_FORMAT_TIME) return (gint64)t;
  guint64 rt = 0;
  int sign = gst_segment_to_running_time_full(seg, GST_FORMAT_TIME, t, &rt);
  if (sign == 0) return WP_NONE;
  return sign > 0 ? (gint64)rt : -(gint64)rt;
}

int wp_pull_unit(void *sink, guint64 timeout_ns, wp_unit *out) {
  memset(out, 0, sizeof *out);
  GstSample *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), timeout_ns);
  if (!sample) return gst_app_sink_is_eos(GST_APP_SINK(sink)) ? -1 : 0;
  GstBuffer *buf = gst_sample_get_buffer(sample);
  GstCaps *caps = gst_sample_get_caps(sample);
  if (!buf || !caps) {
    gst_sample_unref(sample);
    return 0;
  }
  const GstSegment *seg = gst_sample_get_segment(sample);
  out->buf = gst_buffer_ref(buf);
  out->caps = gst_caps_ref(caps);
  out->pts = wp_running(seg, GST_BUFFER_PTS(buf));
  out->dts = wp_running(seg, GST_BUFFER_DTS(buf));
  out->duration = GST_BUFFER_DURATION_IS_VALID(buf) ? (gint64)GST_BUFFER_DURATION(buf) : WP_NONE;
  out->size = gst_buffer_get_size(buf);
  out->keyframe = !GST_BUFFER_FLAG_IS_SET(buf, GST_BUFFER_FLAG_DELTA_UNIT);
  out->discont = GST_BUFFER_FLAG_IS_SET(buf, GST_BUFFER_FLAG_DISCONT);
  if (seg && seg->format == GST_FORMAT_TIME && GST_BUFFER_PTS_IS_VALID(buf)) {
    GstClockTime pts = GST_BUFFER_PTS(buf);
    GstClockTime end = pts + (GST_BUFFER_DURATION_IS_VALID(buf) ? GST_BUFFER_DURATION(buf) : 1);
    if (end <= seg->start || (GST_CLOCK_TIME_IS_VALID(seg->stop) && pts >= seg->stop))
      out->outside = 1;
  }
  gst_sample_unref(sample);
  return 1;
}

void wp_unit_make(wp_unit *out, const void *data, gsize size, GstCaps *caps) {
  memset(out, 0, sizeof *out);
  out->buf = gst_buffer_new_allocate(NULL, size, NULL);
  gst_buffer_fill(out->buf, 0, data, size);
  out->caps = gst_caps_ref(caps);
  out->pts = out->dts = out->duration = WP_NONE;
  out->size = size;
}

void wp_unit_clear(wp_unit *u) {
  if (u->buf) gst_buffer_unref(u->buf);
  if (u->caps) gst_caps_unref(u->caps);
  u->buf = NULL;
  u->caps = NULL;
}

// Names a unit through the decoder: decoders copy this meta from what they are
// given to what they make of it, whatever order they work in.
GstCaps *wp_name_caps(void) {
  static gsize once = 0;
  static GstCaps *caps = NULL;
  if (g_once_init_enter(&once)) {
    caps = gst_caps_new_empty_simple("timestamp/x-watchpost");
    GST_MINI_OBJECT_FLAG_SET(caps, GST_MINI_OBJECT_FLAG_MAY_BE_LEAKED);
    g_once_init_leave(&once, 1);
  }
  return caps;
}

void wp_src_caps(void *src, GstCaps *caps) { gst_app_src_set_caps(GST_APP_SRC(src), caps); }
void wp_src_eos(void *src) { gst_app_src_end_of_stream(GST_APP_SRC(src)); }

// What a source handed on, and how much of it had been dealt with when it was asked
// for more: both happen in its one thread, in order.
typedef struct {
  guint64 out;
  GMutex lock;
  guint64 done; // under lock
} wp_count;

static void count_free(gpointer data) {
  wp_count *c = data;
  g_mutex_clear(&c->lock);
  g_free(c);
}

static GstPadProbeReturn count_out(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad, (void)info;
  ((wp_count *)data)->out++;
  return GST_PAD_PROBE_OK;
}

static void count_done(GstAppSrc *src, guint length, gpointer data) {
  (void)src, (void)length;
  wp_count *c = data;
  g_mutex_lock(&c->lock);
  c->done = c->out;
  g_mutex_unlock(&c->lock);
}

void wp_src_count(void *src) {
  wp_count *c = g_new0(wp_count, 1);
  g_mutex_init(&c->lock);
  g_object_set_data_full(G_OBJECT(src), "wp-count", c, count_free);
  GstAppSrcCallbacks calls = {.need_data = count_done};
  gst_app_src_set_callbacks(GST_APP_SRC(src), &calls, c, NULL);
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(src), "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, count_out, c, NULL);
  gst_object_unref(pad);
}

guint64 wp_src_done(void *src) {
  wp_count *c = g_object_get_data(G_OBJECT(src), "wp-count");
  g_mutex_lock(&c->lock);
  guint64 n = c->done;
  g_mutex_unlock(&c->lock);
  return n;
}

int wp_push_unit(void *src, GstBuffer *buf, gint64 pts, gint64 dts, gint64 duration,
                 guint64 seq, gint64 captured) {
  GstBuffer *b = gst_buffer_copy(buf);
  GST_BUFFER_PTS(b) = pts == WP_NONE ? GST_CLOCK_TIME_NONE : (GstClockTime)pts;
  GST_BUFFER_DTS(b) = dts == WP_NONE ? GST_CLOCK_TIME_NONE : (GstClockTime)dts;
  GST_BUFFER_DURATION(b) = duration == WP_NONE ? GST_CLOCK_TIME_NONE : (GstClockTime)duration;
  gst_buffer_add_reference_timestamp_meta(b, wp_name_caps(), (GstClockTime)captured, (GstClockTime)seq);
  return gst_app_src_push_buffer(GST_APP_SRC(src), b) == GST_FLOW_OK ? 0 : -1;
}

int wp_push_bytes(void *src, const void *data, gsize size) {
  GstBuffer *b = gst_buffer_new_allocate(NULL, size, NULL);
  gst_buffer_fill(b, 0, data, size);
  return gst_app_src_push_buffer(GST_APP_SRC(src), b) == GST_FLOW_OK ? 0 : -1;
}
