#include "shim.h"
#include <string.h>

// What takes a stream's packets apart. parsebin would do it, but lets the
// depayloaders hand out single NAL units, and then the parser behind them knows
// that a picture is whole only when the next one begins: a frame's time late.
// Whole pictures end with the packet that is marked as the last.
static const struct {
  const char *encoding, *chain;
} chains[] = {
    {"H264", "rtph264depay ! video/x-h264,stream-format=byte-stream,alignment=au ! h264parse"},
    {"H265", "rtph265depay ! video/x-h265,stream-format=byte-stream,alignment=au ! h265parse"},
};

GstElement *wp_rtp_chain(GstCaps *caps) {
  if (!caps || gst_caps_get_size(caps) == 0) return NULL;
  const char *encoding = gst_structure_get_string(gst_caps_get_structure(caps, 0), "encoding-name");
  for (gsize i = 0; encoding && i < G_N_ELEMENTS(chains); i++)
    if (g_ascii_strcasecmp(encoding, chains[i].encoding) == 0)
      return gst_parse_bin_from_description(chains[i].chain, TRUE, NULL);
  return NULL;
}
