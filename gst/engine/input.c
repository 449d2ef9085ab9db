#include "shim.h"
#include <string.h>

// Pads that appear while the source is being opened.

static void input_clear(gpointer data) {
  wp_input *in = data;
  g_string_free(in->tracks, TRUE);
  g_mutex_clear(&in->mutex);
}

void wp_input_unref(wp_input *in) { g_atomic_rc_box_release_full(in, input_clear); }

static void input_release(gpointer data, GClosure *closure) {
  (void)closure;
  wp_input_unref(data);
}

char *wp_input_tracks(wp_input *in) {
  g_mutex_lock(&in->mutex);
  char *text = g_strdup(in->tracks->str);
  g_mutex_unlock(&in->mutex);
  return text;
}

// A hostile file may have tracks without end: no more than this is kept to tell.
#define TRACKS_TOLD 2000

static void note_track(wp_input *in, GstCaps *caps) {
  int w, h, n, d;
  wp_caps_video(caps, &w, &h, &n, &d);
  gchar *text = gst_caps_to_string(caps);
  g_mutex_lock(&in->mutex);
  if (in->tracks->len < TRACKS_TOLD) g_string_append_printf(in->tracks, "%d %d %.80s\n", w, h, text);
  g_mutex_unlock(&in->mutex);
  g_free(text);
}
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
    if (!g_atomic_int_get(&in->done)) note_track(in, caps);
    g_atomic_int_inc(&in->video);
    GstPad *sink = gst_element_get_static_pad(in->sink, "sink");
    if (g_atomic_int_add(&in->nth, 1) == in->track && !gst_pad_is_linked(sink)) taken = link_units(in, pad, caps, sink);
    gst_object_unref(sink);
  } else {
    g_atomic_int_inc(&in->other);
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, count_end, g_atomic_rc_box_acquire(in),
                      (GDestroyNotify)wp_input_unref);
  }
  if (!taken) sink_away(in, pad);
  if (caps) gst_caps_unref(caps);
}

static void parse_no_more(GstElement *parse, gpointer data) {
  (void)parse;
  wp_input *in = data;
  g_atomic_int_set(&in->done, 1);
  // Pads that come from now on are of the next part of a chain of streams.
  g_atomic_int_set(&in->nth, 0);
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

wp_input *wp_input_watch(void *pipeline, void *net, void *parse, void *sink, int track) {
  wp_input *in = g_atomic_rc_box_new0(wp_input);
  g_mutex_init(&in->mutex);
  in->tracks = g_string_new(NULL);
  in->track = track;
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

static GstPadProbeReturn no_duration(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad;
  (void)data;
  GstQuery *q = GST_PAD_PROBE_INFO_QUERY(info);
  if (GST_QUERY_TYPE(q) != GST_QUERY_DURATION) return GST_PAD_PROBE_OK;
  GstFormat format;
  gst_query_parse_duration(q, &format, NULL);
  return format == GST_FORMAT_TIME ? GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

void wp_src_untimed(void *src) {
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(src), "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_QUERY_UPSTREAM, no_duration, NULL, NULL);
  gst_object_unref(pad);
}

typedef struct {
  guint64 at;
  gsize size;
  guint8 data[];
} patch;

// The bytes may be pulled, in any order, or pushed.
static GstPadProbeReturn patch_bytes(GstPad *pad, GstPadProbeInfo *info, gpointer data) {
  (void)pad;
  const patch *p = data;
  GstBuffer *b = GST_PAD_PROBE_INFO_BUFFER(info);
  if (!b || !GST_BUFFER_OFFSET_IS_VALID(b)) return GST_PAD_PROBE_OK;
  guint64 from = GST_BUFFER_OFFSET(b), to = from + gst_buffer_get_size(b);
  guint64 lo = MAX(from, p->at), hi = MIN(to, p->at + p->size);
  if (lo >= hi) return GST_PAD_PROBE_OK;
  b = gst_buffer_make_writable(b);
  GST_PAD_PROBE_INFO_DATA(info) = b;
  gst_buffer_fill(b, lo - from, p->data + (lo - p->at), hi - lo);
  return GST_PAD_PROBE_OK;
}

void wp_src_patch(void *src, guint64 at, const void *data, gsize size) {
  patch *p = g_malloc(sizeof *p + size);
  p->at = at;
  p->size = size;
  memcpy(p->data, data, size);
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(src), "src");
  gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_PULL | GST_PAD_PROBE_TYPE_PUSH, patch_bytes, p,
                    g_free);
  gst_object_unref(pad);
}
