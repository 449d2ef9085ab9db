// The part of the engine that touches buffers: everything here is released by
// an explicit call, nothing by a finalizer, because a Go object of a few bytes
// that holds megabytes of pictures gives the collector no reason to hurry.
#ifndef WATCHPOST_SHIM_H
#define WATCHPOST_SHIM_H

#include <gst/gst.h>
#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>

// No time is known.
#define WP_NONE G_MININT64

// What is waiting on a pipeline's bus. Strings are freed by wp_message_clear.
enum { WP_ERROR = 1, WP_WARNING = 2, WP_EOS = 3, WP_MISSING = 4 };
enum { WP_CORE = 1, WP_LIBRARY = 2, WP_RESOURCE = 3, WP_STREAM = 4 };
typedef struct {
  int type, domain, code;
  char *text, *debug, *source;
  int picture; // WP_MISSING: of video or images
} wp_message;
int wp_bus_pop(void *pipeline, wp_message *out);
void wp_message_clear(wp_message *m);

// Sets a property from text, whatever its type. 0: no such property.
int wp_set(void *object, const char *name, const char *value);

// What the dynamic part of an input found, shared with the pads' callbacks.
typedef struct {
  GstElement *pipeline, *parse, *sink; // the pipeline outlives the callbacks
  gint video;      // pads with video seen
  gint other;      // other pads seen
  gint ended;      // of these, how many are at their end
  gint done;       // all pads are known
  gint streams;    // network streams offered
  gint selected;   // of these, the video stream that was taken
  gint track;      // which video pad of parse is wanted, from 0
  gint nth;        // video pads of this group of pads seen
  GMutex mutex;
  GString *tracks; // the first group's video pads; under mutex
} wp_input;
wp_input *wp_input_watch(void *pipeline, void *net, void *parse, void *sink, int track);
void wp_input_unref(wp_input *in);
// A bin that makes whole pictures of a stream's packets; NULL: parsebin has to.
GstElement *wp_rtp_chain(GstCaps *caps);
int wp_input_video(wp_input *in);
int wp_input_other(wp_input *in);
int wp_input_done(wp_input *in);
int wp_input_ended(wp_input *in); // there are other pads, and all are at their end
int wp_input_streams(wp_input *in);
int wp_input_selected(wp_input *in);
// The video tracks seen, one a line: width height caps. Freed with g_free.
char *wp_input_tracks(wp_input *in);
// Whether an element that pulls its input has stopped doing so.
int wp_gave_up(void *pipeline);

// One encoded access unit, or one raw frame. buf and caps are owned.
typedef struct {
  GstBuffer *buf;
  GstCaps *caps;
  gint64 pts, dts; // running time in ns, may be negative; WP_NONE
  gint64 duration; // ns; WP_NONE
  gsize size;
  int keyframe;
  int discont; // what was before it is missing, or part of itself
  int outside; // lies outside of what the container says to show
  char orientation[32];
} wp_unit;
// 1: a unit; 0: nothing in time; -1: end of stream.
int wp_pull_unit(void *sink, guint64 timeout_ns, wp_unit *out);
// Makes a unit of a copy of data. caps stay the caller's.
void wp_unit_make(wp_unit *out, const void *data, gsize size, GstCaps *caps);
void wp_unit_clear(wp_unit *u);
void wp_sink_orientation(void *sink, char *out, gsize size);

GstCaps *wp_caps_new(const char *text); // NULL: they are no caps
char *wp_caps_string(GstCaps *caps);
void wp_caps_unref(GstCaps *caps);
void wp_caps_video(GstCaps *caps, int *w, int *h, int *fps_n, int *fps_d);
// The decoders for caps, best first, comma separated; freed with g_free.
char *wp_decoders(GstCaps *caps);
// Whether a factory takes these caps at its sink; whole: even if it asks for more
// than they say.
int wp_factory_takes(const char *factory, GstCaps *caps, int whole);
int wp_factory_exists(const char *factory);
gint64 wp_duration(void *pipeline);

void wp_src_caps(void *src, GstCaps *caps);
// Pushes a shallow copy of buf, named seq and captured. 0: taken.
int wp_push_unit(void *src, GstBuffer *buf, gint64 pts, gint64 dts, gint64 duration,
                 guint64 seq, gint64 captured);
void wp_src_eos(void *src);
// Has a source of bytes not answer how long it lasts: appsrc would say that it
// does not know, and demuxers that ask it first would leave it at that.
void wp_src_untimed(void *src);
// Has a source of bytes give others at a place.
void wp_src_patch(void *src, guint64 at, const void *data, gsize size);
guint64 wp_src_level(void *src); // buffers that wait in it
// Has a source count what whoever is behind it is done with.
void wp_src_count(void *src);
// How many buffers were taken from a source that counts and are done with: what they
// alone could bring has come out, of all that work in the source's own thread.
guint64 wp_src_done(void *src);
// Has the end of stream pass by an encoder that holds nothing back and does not
// know how to be drained.
void wp_pass_eos(void *enc);

// A frame: a buffer and its mapping.
typedef struct {
  GstBuffer *buf;
  GstVideoFrame vf;
  int writable;
} wp_frame;
typedef struct {
  wp_frame *frame;
  int format; // plan.Format; -1: another
  int width, height, planes;
  void *data[3];
  int stride[3];
  gsize size[3];
  gint64 pts; // ns; WP_NONE
  guint64 seq;
  gint64 captured;
  int named; // seq and captured are valid
  int full_range, corrupted;
  int fps_n, fps_d;
} wp_picture;
// A queue of up to max frames in front of a sink, which gets none. It lives as
// long as the sink; flush it before the pipeline is stopped.
typedef struct wp_tap wp_tap;
wp_tap *wp_tap_new(void *sink, int max);
void wp_tap_flush(wp_tap *t);
int wp_pull_frame(wp_tap *t, guint64 timeout_ns, wp_picture *out); // as wp_pull_unit; -2: cannot be mapped
void wp_frame_free(wp_frame *f);
// 1: frame may be written in place (mapped so, fields of out set anew); 0: must be copied.
int wp_frame_writable(wp_frame *f, wp_picture *out);
// The copy's range of values: the source's, video's made of JPEG's, or JPEG's made of video's.
enum { WP_RANGE_KEEP, WP_RANGE_COMPRESS, WP_RANGE_EXPAND };
int wp_frame_copy(wp_frame *dst, wp_frame *src, int range);

void *wp_pool_new(int format, int width, int height, int max, int block);
void wp_pool_free(void *pool);
int wp_pool_take(void *pool, wp_picture *out); // 0: none free

typedef struct wp_scaler wp_scaler;
wp_scaler *wp_scaler_new(wp_frame *in, int format, int w, int h, int threads);
int wp_scaler_run(wp_scaler *s, wp_frame *in, wp_frame *out);
void wp_scaler_free(wp_scaler *s);

// Brings I420 or NV12 to I420 of JPEG's colours; both are of one size. 0: another layout.
int wp_still_colours(wp_frame *dst, wp_frame *src);

// Encoding: the caps of what is pushed, pushing, pulling.
void wp_raw_caps(void *src, wp_frame *f, int fps_n, int fps_d);
// sole: nobody else holds f, which is consumed.
int wp_push_frame(void *src, wp_frame *f, int sole, gint64 pts, gint64 duration);
typedef struct {
  GstBuffer *buf;
  GstMapInfo map;
  gint64 pts;
  int keyframe;
} wp_packet;
int wp_pull_packet(void *sink, guint64 timeout_ns, wp_packet *out);
void *wp_packet_data(wp_packet *p);
gsize wp_packet_size(wp_packet *p);
void wp_packet_clear(wp_packet *p);
void wp_force_keyframe(void *sink, guint count);

// Pushes a copy of data. 0: taken.
int wp_push_bytes(void *src, const void *data, gsize size);

// The modes of a camera, one a line: media format|- width height slowest fastest, the
// rates as n/d or "-" if not told; of a range of sizes the nearest to what is wanted.
// Freed with g_free; the source is left ready.
char *wp_modes(void *src, int width, int height);

#endif
