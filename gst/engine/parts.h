// What the parts of the shim need of each other; nothing here is for Go.
#ifndef WATCHPOST_PARTS_H
#define WATCHPOST_PARTS_H

#include "shim.h"
#include "shrink.h"

// The running time of a buffer's timestamp in its segment, or WP_NONE.
gint64 wp_running(const GstSegment *seg, GstClockTime t);
// The caps of the meta that names a unit; not owned by the caller.
GstCaps *wp_name_caps(void);
// Fills in the form of a mapped frame and where its pixels are.
void wp_describe(wp_frame *f, wp_picture *out);
// GStreamer's name of a plan.Format.
GstVideoFormat wp_video_format(int f);

// How a frame's YUV is to be read.
wp_colour wp_colour_of(const GstVideoInfo *info);

#endif
