#include "parts.h"
#include <string.h>

// A tap takes buffers off the end of a decoder's pipeline. An appsink would do,
// but it keeps a reference on the last buffer, so that no frame could ever be
// drawn on without a copy.
struct wp_tap {
  GMutex lock;
  GCond more, room;
  GQueue buffers; // of wp_frame with buf and vf.info set
  guint max;
  GstVideoInfo info;
  gboolean known, eos, flushing;
};

static void tap_event(wp_tap *t, GstEvent *ev) {
  if (GST_EVENT_TYPE(ev) == GST_EVENT_CAPS) {
    GstCaps *caps = NULL;
    gst_event_parse_caps(ev, &caps);
    g_mutex_lock(&t->lock);
    t->known = caps && gst_video_info_from_caps(&t->info, caps);
    g_mutex_unlock(&t->lock);
  } else if (GST_EVENT_TYPE(ev) == GST_EVENT_EOS) {
    g_mutex_lock(&t->lock);
    t->eos = TRUE;
    g_cond_broadcast(&t->more);
    g_mutex_unlock(&t->lock);
  }
}

static GstPadProbeReturn tap_probe(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad;
  wp_tap *t = data;
  if (info->type & GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM) {
    GstQuery *q = GST_PAD_PROBE_INFO_QUERY(info);
    if (GST_QUERY_TYPE(q) != GST_QUERY_ALLOCATION) return GST_PAD_PROBE_OK;
    // Strides are read from the meta, so decoders need not copy to change them.
    gst_query_add_allocation_meta(q, GST_VIDEO_META_API_TYPE, NULL);
    return GST_PAD_PROBE_HANDLED;
  }
  if (info->type & GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM) {
    tap_event(t, GST_PAD_PROBE_INFO_EVENT(info));
    return GST_PAD_PROBE_OK;
  }
  GstBuffer *buf = GST_PAD_PROBE_INFO_BUFFER(info);
  g_mutex_lock(&t->lock);
  while (g_queue_get_length(&t->buffers) >= t->max && !t->flushing) g_cond_wait(&t->room, &t->lock);
  if (t->flushing) {
    GST_PAD_PROBE_INFO_FLOW_RETURN(info) = GST_FLOW_FLUSHING;
    gst_buffer_unref(buf);
  } else if (!t->known) {
    GST_PAD_PROBE_INFO_FLOW_RETURN(info) = GST_FLOW_NOT_NEGOTIATED;
    gst_buffer_unref(buf);
  } else {
    wp_frame *f = g_new0(wp_frame, 1);
    f->buf = buf;
    f->vf.info = t->info;
    g_queue_push_tail(&t->buffers, f);
    g_cond_signal(&t->more);
  }
  g_mutex_unlock(&t->lock);
  return GST_PAD_PROBE_HANDLED;
}

static void tap_drop_all(wp_tap *t) {
  wp_frame *f;
  while ((f = g_queue_pop_head(&t->buffers))) {
    gst_buffer_unref(f->buf);
    g_free(f);
  }
}

static void tap_free(gpointer data) {
  wp_tap *t = data;
  tap_drop_all(t);
  g_mutex_clear(&t->lock);
  g_cond_clear(&t->more);
  g_cond_clear(&t->room);
  g_free(t);
}

wp_tap *wp_tap_new(void *sink, int max) {
  wp_tap *t = g_new0(wp_tap, 1);
  g_mutex_init(&t->lock);
  g_cond_init(&t->more);
  g_cond_init(&t->room);
  g_queue_init(&t->buffers);
  t->max = (guint)max;
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(sink), "sink");
  // The probe owns the tap: it goes with the pad.
  gst_pad_add_probe(pad,
                    GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM |
                        GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM,
                    tap_probe, t, tap_free);
  gst_object_unref(pad);
  return t;
}

void wp_tap_flush(wp_tap *t) {
  g_mutex_lock(&t->lock);
  t->flushing = TRUE;
  tap_drop_all(t);
  g_cond_broadcast(&t->room);
  g_cond_broadcast(&t->more);
  g_mutex_unlock(&t->lock);
}

int wp_pull_frame(wp_tap *t, guint64 timeout_ns, wp_picture *out) {
  memset(out, 0, sizeof *out);
  gint64 until = g_get_monotonic_time() + (gint64)(timeout_ns / 1000);
  g_mutex_lock(&t->lock);
  while (g_queue_is_empty(&t->buffers) && !t->eos && !t->flushing)
    if (!g_cond_wait_until(&t->more, &t->lock, until)) break;
  wp_frame *f = g_queue_pop_head(&t->buffers);
  gboolean end = t->eos || t->flushing;
  if (f) g_cond_signal(&t->room);
  g_mutex_unlock(&t->lock);
  if (!f) return end ? -1 : 0;
  GstBuffer *buf = f->buf;
  GstVideoInfo info = f->vf.info;
  if (!gst_video_frame_map(&f->vf, &info, buf, GST_MAP_READ | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)) {
    gst_buffer_unref(buf);
    g_free(f);
    return -2;
  }
  wp_describe(f, out);
  out->pts = GST_BUFFER_PTS_IS_VALID(buf) ? (gint64)GST_BUFFER_PTS(buf) : WP_NONE;
  out->corrupted = GST_BUFFER_FLAG_IS_SET(buf, GST_BUFFER_FLAG_CORRUPTED);
  out->full_range = info.colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
  out->fps_n = info.fps_n;
  out->fps_d = info.fps_d;
  GstReferenceTimestampMeta *meta = gst_buffer_get_reference_timestamp_meta(buf, wp_name_caps());
  if (meta) {
    out->named = 1;
    out->captured = (gint64)meta->timestamp;
    out->seq = (guint64)meta->duration;
  }
  return 1;
}
