#include "shim.h"
#include "shrink.h"
#include <string.h>

int wp_set(void *object, const char *name, const char *value) {
  GParamSpec *spec = g_object_class_find_property(G_OBJECT_GET_CLASS(object), name);
  if (!spec || !(spec->flags & G_PARAM_WRITABLE)) return 0;
  // gst_util_set_object_arg would read quotes and escapes in a string.
  if (spec->value_type == G_TYPE_STRING)
    g_object_set(object, name, value, NULL);
  else
    gst_util_set_object_arg(G_OBJECT(object), name, value);
  return 1;
}

int wp_bus_pop(void *pipeline, wp_message *out) {
  memset(out, 0, sizeof *out);
  GstBus *bus = gst_element_get_bus(GST_ELEMENT(pipeline));
  if (!bus) return 0;
  int found = 0;
  while (!found) {
    GstMessage *m = gst_bus_pop(bus);
    if (!m) break;
    GError *err = NULL;
    switch (GST_MESSAGE_TYPE(m)) {
    case GST_MESSAGE_ERROR:
      out->type = WP_ERROR;
      gst_message_parse_error(m, &err, &out->debug);
      break;
    case GST_MESSAGE_WARNING:
      out->type = WP_WARNING;
      gst_message_parse_warning(m, &err, &out->debug);
      break;
    case GST_MESSAGE_EOS:
      out->type = WP_EOS;
      found = 1;
      break;
    case GST_MESSAGE_ELEMENT: {
      const GstStructure *s = gst_message_get_structure(m);
      if (s && gst_structure_has_name(s, "missing-plugin")) {
        out->type = WP_MISSING;
        out->text = g_strdup(gst_structure_get_string(s, "name"));
        found = 1;
      }
      break;
    }
    default:
      break;
    }
    if (err) {
      out->domain = err->domain == GST_CORE_ERROR       ? WP_CORE
                    : err->domain == GST_LIBRARY_ERROR  ? WP_LIBRARY
                    : err->domain == GST_RESOURCE_ERROR ? WP_RESOURCE
                    : err->domain == GST_STREAM_ERROR   ? WP_STREAM
                                                        : 0;
      out->code = err->code;
      out->text = g_strdup(err->message);
      out->source = g_strdup(GST_MESSAGE_SRC(m) ? GST_OBJECT_NAME(GST_MESSAGE_SRC(m)) : "");
      g_error_free(err);
      found = 1;
    }
    gst_message_unref(m);
  }
  gst_object_unref(bus);
  return found;
}

void wp_message_clear(wp_message *m) {
  g_free(m->text);
  g_free(m->debug);
  g_free(m->source);
  memset(m, 0, sizeof *m);
}

// ---- inputs: pads that appear while the source is being opened

static void input_release(gpointer data, GClosure *closure) {
  (void)closure;
  g_atomic_rc_box_release(data);
}

void wp_input_unref(wp_input *in) { g_atomic_rc_box_release(in); }
int wp_input_video(wp_input *in) { return g_atomic_int_get(&in->video); }
int wp_input_other(wp_input *in) { return g_atomic_int_get(&in->other); }
int wp_input_done(wp_input *in) { return g_atomic_int_get(&in->done); }
int wp_input_ended(wp_input *in) {
  gint other = g_atomic_int_get(&in->other);
  return other > 0 && g_atomic_int_get(&in->ended) >= other;
}
int wp_input_streams(wp_input *in) { return g_atomic_int_get(&in->streams); }
int wp_input_selected(wp_input *in) { return g_atomic_int_get(&in->selected); }

static void sink_away(wp_input *in, GstPad *pad) {
  // What nobody takes must still flow, or the demuxer stops at not-linked.
  GstElement *fake = gst_element_factory_make("fakesink", NULL);
  if (!fake) return;
  g_object_set(fake, "sync", FALSE, "async", FALSE, NULL);
  gst_bin_add(GST_BIN(in->pipeline), fake);
  gst_element_sync_state_with_parent(fake);
  GstPad *sink = gst_element_get_static_pad(fake, "sink");
  gst_pad_link(pad, sink);
  gst_object_unref(sink);
}

// parsebin leaves pictures in the pieces that they were read in; a decoder that
// has to find their ends by itself errs. Links pad to the sink, through a parser
// where that is so.
static gboolean link_units(wp_input *in, GstPad *pad, GstCaps *caps, GstPad *sink) {
  const GstStructure *s = gst_caps_get_size(caps) > 0 ? gst_caps_get_structure(caps, 0) : NULL;
  gboolean parsed = FALSE;
  const char *parser = s && gst_structure_has_name(s, "image/jpeg")  ? "jpegparse"
                       : s && gst_structure_has_name(s, "image/png") ? "pngparse"
                                                                     : NULL;
  if (s) gst_structure_get_boolean(s, "parsed", &parsed);
  GstElement *e = parser && !parsed ? gst_element_factory_make(parser, NULL) : NULL;
  if (!e) return gst_pad_link(pad, sink) == GST_PAD_LINK_OK;
  gst_bin_add(GST_BIN(in->pipeline), e);
  GstPad *esink = gst_element_get_static_pad(e, "sink"), *esrc = gst_element_get_static_pad(e, "src");
  gboolean ok = gst_pad_link(esrc, sink) == GST_PAD_LINK_OK && gst_element_sync_state_with_parent(e) &&
                gst_pad_link(pad, esink) == GST_PAD_LINK_OK;
  gst_object_unref(esink);
  gst_object_unref(esrc);
  return ok;
}

static GstPadProbeReturn count_end(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad;
  wp_input *in = data;
  if (GST_EVENT_TYPE(GST_PAD_PROBE_INFO_EVENT(info)) != GST_EVENT_EOS) return GST_PAD_PROBE_OK;
  g_atomic_int_inc(&in->ended);
  return GST_PAD_PROBE_REMOVE;
}

static void parse_pad_added(GstElement *parse, GstPad *pad, gpointer data) {
  (void)parse;
  wp_input *in = data;
  GstCaps *caps = gst_pad_get_current_caps(pad);
  if (!caps) caps = gst_pad_query_caps(pad, NULL);
  const char *name = caps && gst_caps_get_size(caps) > 0
                         ? gst_structure_get_name(gst_caps_get_structure(caps, 0))
                         : "";
  gboolean video = g_str_has_prefix(name, "video/") || g_str_has_prefix(name, "image/");
  gboolean taken = FALSE;
  if (video) {
    g_atomic_int_inc(&in->video);
    GstPad *sink = gst_element_get_static_pad(in->sink, "sink");
    if (!gst_pad_is_linked(sink)) taken = link_units(in, pad, caps, sink);
    gst_object_unref(sink);
  } else {
    g_atomic_int_inc(&in->other);
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, count_end, g_atomic_rc_box_acquire(in),
                      (GDestroyNotify)g_atomic_rc_box_release);
  }
  if (!taken) sink_away(in, pad);
  if (caps) gst_caps_unref(caps);
}

static void parse_no_more(GstElement *parse, gpointer data) {
  (void)parse;
  g_atomic_int_set(&((wp_input *)data)->done, 1);
}

static gboolean is_video_rtp(GstCaps *caps) {
  if (!caps || gst_caps_get_size(caps) == 0) return FALSE;
  const char *media = gst_structure_get_string(gst_caps_get_structure(caps, 0), "media");
  return media && strcmp(media, "video") == 0;
}

// Links a network stream to the sink: through a chain of ours, else parsebin.
static gboolean link_packets(wp_input *in, GstPad *pad, GstCaps *caps) {
  GstPad *sink = gst_element_get_static_pad(in->sink, "sink");
  // What stands in front of parsebin: descriptions have to have a link in them.
  GstElement *packets = gst_bin_get_by_name(GST_BIN(in->pipeline), "packets");
  GstPad *parse = gst_element_get_static_pad(packets, "sink");
  gboolean ok = FALSE;
  GstElement *chain = NULL;
  if (gst_pad_is_linked(sink) || gst_pad_is_linked(parse)) {
    // Another one is there already.
  } else if ((chain = wp_rtp_chain(caps))) {
    gst_bin_add(GST_BIN(in->pipeline), chain);
    GstPad *csink = gst_element_get_static_pad(chain, "sink"), *csrc = gst_element_get_static_pad(chain, "src");
    ok = gst_pad_link(csrc, sink) == GST_PAD_LINK_OK && gst_element_sync_state_with_parent(chain) &&
         gst_pad_link(pad, csink) == GST_PAD_LINK_OK;
    gst_object_unref(csink);
    gst_object_unref(csrc);
    if (ok) g_atomic_int_inc(&in->video);
  } else {
    ok = gst_pad_link(pad, parse) == GST_PAD_LINK_OK;
  }
  gst_object_unref(parse);
  gst_object_unref(packets);
  gst_object_unref(sink);
  return ok;
}

static void net_pad_added(GstElement *net, GstPad *pad, gpointer data) {
  (void)net;
  wp_input *in = data;
  gboolean taken = FALSE;
  GstCaps *caps = gst_pad_get_current_caps(pad);
  if (!caps) caps = gst_pad_query_caps(pad, NULL);
  if (is_video_rtp(caps)) taken = link_packets(in, pad, caps);
  if (!taken) sink_away(in, pad);
  if (caps) gst_caps_unref(caps);
}

// Only the first video stream is set up: the others would cost the network.
static gboolean net_select(GstElement *net, guint n, GstCaps *caps, gpointer data) {
  (void)net;
  wp_input *in = data;
  g_atomic_int_inc(&in->streams);
  if (!is_video_rtp(caps)) return FALSE;
  gint want = (gint)n + 1;
  // Over UDP and then TCP the same streams are offered a second time.
  return g_atomic_int_compare_and_exchange(&in->selected, 0, want) ||
         g_atomic_int_get(&in->selected) == want;
}

static void connect(wp_input *in, gpointer object, const char *signal, GCallback f) {
  g_signal_connect_data(object, signal, f, g_atomic_rc_box_acquire(in), input_release, 0);
}

wp_input *wp_input_watch(void *pipeline, void *net, void *parse, void *sink) {
  wp_input *in = g_atomic_rc_box_new0(wp_input);
  in->pipeline = pipeline;
  in->parse = parse;
  in->sink = sink;
  if (net) {
    connect(in, net, "pad-added", G_CALLBACK(net_pad_added));
    connect(in, net, "select-stream", G_CALLBACK(net_select));
  }
  if (parse) {
    connect(in, parse, "pad-added", G_CALLBACK(parse_pad_added));
    connect(in, parse, "no-more-pads", G_CALLBACK(parse_no_more));
  }
  return in;
}

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

static gint64 running(const GstSegment *seg, GstClockTime t) {
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
  out->pts = running(seg, GST_BUFFER_PTS(buf));
  out->dts = running(seg, GST_BUFFER_DTS(buf));
  out->duration = GST_BUFFER_DURATION_IS_VALID(buf) ? (gint64)GST_BUFFER_DURATION(buf) : WP_NONE;
  out->size = gst_buffer_get_size(buf);
  out->keyframe = !GST_BUFFER_FLAG_IS_SET(buf, GST_BUFFER_FLAG_DELTA_UNIT);
  if (seg && seg->format == GST_FORMAT_TIME && GST_BUFFER_PTS_IS_VALID(buf)) {
    GstClockTime pts = GST_BUFFER_PTS(buf);
    GstClockTime end = pts + (GST_BUFFER_DURATION_IS_VALID(buf) ? GST_BUFFER_DURATION(buf) : 1);
    if (end <= seg->start || (GST_CLOCK_TIME_IS_VALID(seg->stop) && pts >= seg->stop))
      out->outside = 1;
  }
  gst_sample_unref(sample);
  return 1;
}

void wp_unit_clear(wp_unit *u) {
  if (u->buf) gst_buffer_unref(u->buf);
  if (u->caps) gst_caps_unref(u->caps);
  u->buf = NULL;
  u->caps = NULL;
}

char *wp_caps_string(GstCaps *caps) { return gst_caps_to_string(caps); }
void wp_caps_unref(GstCaps *caps) { gst_caps_unref(caps); }

void wp_caps_video(GstCaps *caps, int *w, int *h, int *fps_n, int *fps_d) {
  *w = *h = *fps_n = 0;
  *fps_d = 1;
  if (gst_caps_get_size(caps) == 0) return;
  GstStructure *s = gst_caps_get_structure(caps, 0);
  gst_structure_get_int(s, "width", w);
  gst_structure_get_int(s, "height", h);
  gst_structure_get_fraction(s, "framerate", fps_n, fps_d);
}

char *wp_decoders(GstCaps *caps) {
  GList *all = gst_element_factory_list_get_elements(
      GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_MEDIA_VIDEO |
          GST_ELEMENT_FACTORY_TYPE_MEDIA_IMAGE,
      GST_RANK_MARGINAL);
  GList *fit = gst_element_factory_list_filter(all, caps, GST_PAD_SINK, FALSE);
  fit = g_list_sort(fit, gst_plugin_feature_rank_compare_func);
  GString *names = g_string_new(NULL);
  const GstStructure *s = gst_caps_get_size(caps) > 0 ? gst_caps_get_structure(caps, 0) : NULL;
  gboolean alpha = s && gst_structure_has_field(s, "codec-alpha");
  for (GList *l = fit; l; l = l->next) {
    if (!alpha && strstr(GST_OBJECT_NAME(l->data), "alphadecodebin")) continue;
    if (names->len) g_string_append_c(names, ',');
    g_string_append(names, GST_OBJECT_NAME(l->data));
  }
  gst_plugin_feature_list_free(all);
  gst_plugin_feature_list_free(fit);
  return g_string_free(names, FALSE);
}

int wp_factory_exists(const char *factory) {
  GstElementFactory *f = gst_element_factory_find(factory);
  if (!f) return 0;
  gst_object_unref(f);
  return 1;
}

int wp_factory_takes(const char *factory, GstCaps *caps) {
  GstElementFactory *f = gst_element_factory_find(factory);
  if (!f) return 0;
  int yes = gst_element_factory_can_sink_any_caps(f, caps);
  gst_object_unref(f);
  return yes;
}

gint64 wp_duration(void *pipeline) {
  gint64 d = 0;
  if (!gst_element_query_duration(GST_ELEMENT(pipeline), GST_FORMAT_TIME, &d)) return 0;
  return d > 0 ? d : 0;
}

// ---- decoding

// Names a unit through the decoder: decoders copy this meta from what they are
// given to what they make of it, whatever order they work in.
static GstCaps *name_caps(void) {
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

int wp_push_unit(void *src, GstBuffer *buf, gint64 pts, gint64 dts, gint64 duration,
                 guint64 seq, gint64 captured) {
  GstBuffer *b = gst_buffer_copy(buf);
  GST_BUFFER_PTS(b) = pts == WP_NONE ? GST_CLOCK_TIME_NONE : (GstClockTime)pts;
  GST_BUFFER_DTS(b) = dts == WP_NONE ? GST_CLOCK_TIME_NONE : (GstClockTime)dts;
  GST_BUFFER_DURATION(b) = duration == WP_NONE ? GST_CLOCK_TIME_NONE : (GstClockTime)duration;
  gst_buffer_add_reference_timestamp_meta(b, name_caps(), (GstClockTime)captured, (GstClockTime)seq);
  return gst_app_src_push_buffer(GST_APP_SRC(src), b) == GST_FLOW_OK ? 0 : -1;
}

int wp_push_bytes(void *src, const void *data, gsize size) {
  GstBuffer *b = gst_buffer_new_allocate(NULL, size, NULL);
  gst_buffer_fill(b, 0, data, size);
  return gst_app_src_push_buffer(GST_APP_SRC(src), b) == GST_FLOW_OK ? 0 : -1;
}

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

static int plan_format(GstVideoFormat f) {
  switch (f) {
  case GST_VIDEO_FORMAT_I420: return 0;
  case GST_VIDEO_FORMAT_NV12: return 1;
  case GST_VIDEO_FORMAT_RGB: return 2;
  default: return -1;
  }
}

static GstVideoFormat video_format(int f) {
  return f == 0 ? GST_VIDEO_FORMAT_I420 : f == 1 ? GST_VIDEO_FORMAT_NV12 : GST_VIDEO_FORMAT_RGB;
}

// Fills in where the pixels are. A plane ends with its memory, which may be
// short of the last row's padding.
static void describe(wp_frame *f, wp_picture *out) {
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
  describe(f, out);
  out->pts = GST_BUFFER_PTS_IS_VALID(buf) ? (gint64)GST_BUFFER_PTS(buf) : WP_NONE;
  out->corrupted = GST_BUFFER_FLAG_IS_SET(buf, GST_BUFFER_FLAG_CORRUPTED);
  out->full_range = info.colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
  out->fps_n = info.fps_n;
  out->fps_d = info.fps_d;
  GstReferenceTimestampMeta *meta = gst_buffer_get_reference_timestamp_meta(buf, name_caps());
  if (meta) {
    out->named = 1;
    out->captured = (gint64)meta->timestamp;
    out->seq = (guint64)meta->duration;
  }
  return 1;
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
  describe(f, out);
  return 1;
}

// JPEG's full range (0-255) becomes video's (16-235, chroma 16-240).
static void compress_plane(guint8 *d, const guint8 *s, int n, int scale, int offset) {
  for (int i = 0; i < n; i++) d[i] = (guint8)(((s[i] * scale + 128) >> 8) + offset);
}

int wp_frame_copy(wp_frame *dst, wp_frame *src, int compress_range) {
  if (!compress_range) return gst_video_frame_copy(&dst->vf, &src->vf);
  GstVideoFrame *a = &dst->vf, *b = &src->vf;
  for (guint p = 0; p < GST_VIDEO_FRAME_N_PLANES(a); p++) {
    gint comp[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component(a->info.finfo, p, comp);
    int rows = GST_VIDEO_FRAME_COMP_HEIGHT(a, comp[0]);
    int n = GST_VIDEO_FRAME_COMP_WIDTH(a, comp[0]) * GST_VIDEO_FRAME_COMP_PSTRIDE(a, comp[0]);
    // y' = 16 + y*219/255; c' = 128 + (c-128)*224/255 = 15.56 + c*224/255
    int scale = p == 0 ? 220 : 225, offset = p == 0 ? 16 : 16;
    for (int y = 0; y < rows; y++)
      compress_plane((guint8 *)a->data[p] + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(a, p),
                     (const guint8 *)b->data[p] + (gsize)y * GST_VIDEO_FRAME_PLANE_STRIDE(b, p), n,
                     scale, offset);
  }
  return 1;
}

// ---- frames of our own

void *wp_pool_new(int format, int width, int height, int max) {
  GstVideoInfo info;
  if (!gst_video_info_set_format(&info, video_format(format), width, height)) return NULL;
  GstCaps *caps = gst_video_info_to_caps(&info);
  GstBufferPool *pool = gst_video_buffer_pool_new();
  GstStructure *config = gst_buffer_pool_get_config(pool);
  gst_buffer_pool_config_set_params(config, caps, info.size, 0, max);
  gst_buffer_pool_config_add_option(config, GST_BUFFER_POOL_OPTION_VIDEO_META);
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
  describe(f, out);
  return 1;
}

// ---- scaling

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
  if (!gst_video_info_set_format(&out, video_format(format), w, h)) return NULL;
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

// colour_of is how the frame's YUV is to be read; what says nothing of itself is
// BT.709 from 720 lines on and BT.601 below, as everybody guesses.
static wp_colour colour_of(const GstVideoInfo *info) {
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
    wp_shrink_run(s->shrink, planes, strides, colour_of(&in->vf.info), GST_VIDEO_FRAME_PLANE_DATA(&out->vf, 0),
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

// ---- encoding

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
  out->pts = running(gst_sample_get_segment(sample), GST_BUFFER_PTS(buf));
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
