// What a camera offers, as v4l2src tells it: formats, sizes and rates, which may be
// ranges. Written out as text, one mode a line, for the Go side to choose from.
#include "shim.h"

// near is the value of a number or a range that is nearest to want. 0: there is none.
static int near(const GValue *v, int want) {
  if (!v) return 0;
  if (G_VALUE_HOLDS_INT(v)) return g_value_get_int(v);
  if (!GST_VALUE_HOLDS_INT_RANGE(v)) return 0;
  int least = gst_value_get_int_range_min(v), most = gst_value_get_int_range_max(v);
  int step = MAX(1, gst_value_get_int_range_step(v));
  want = CLAMP(want, least, most);
  return want - want % step >= least ? want - want % step : least; // a range's ends are multiples of its step
}

// rate writes a fraction, or "-" where there is none: some drivers say 0/1.
static void rate(GString *out, const GValue *v) {
  int n = v ? gst_value_get_fraction_numerator(v) : 0, d = v ? gst_value_get_fraction_denominator(v) : 0;
  if (n > 0 && d > 0)
    g_string_append_printf(out, " %d/%d", n, d);
  else
    g_string_append(out, " -");
}

char *wp_modes(void *src, int width, int height) {
  GString *out = g_string_new(NULL);
  if (gst_element_set_state(GST_ELEMENT(src), GST_STATE_READY) == GST_STATE_CHANGE_FAILURE)
    return g_string_free(out, FALSE);
  GstPad *pad = gst_element_get_static_pad(GST_ELEMENT(src), "src");
  GstCaps *caps = gst_caps_make_writable(gst_pad_query_caps(pad, NULL));
  gst_object_unref(pad);
  // Lists become one mode for each value, of what matters: drivers list many colorimetries.
  for (guint i = 0; i < gst_caps_get_size(caps); i++)
    gst_structure_remove_fields(gst_caps_get_structure(caps, i), "colorimetry", "interlace-mode", "chroma-site",
                                "pixel-aspect-ratio", NULL);
  caps = gst_caps_normalize(caps);
  for (guint i = 0; i < gst_caps_get_size(caps); i++) {
    const GstStructure *s = gst_caps_get_structure(caps, i);
    int w = near(gst_structure_get_value(s, "width"), width), h = near(gst_structure_get_value(s, "height"), height);
    if (w <= 0 || h <= 0) continue;
    const char *format = gst_structure_get_string(s, "format");
    g_string_append_printf(out, "%s %s %d %d", gst_structure_get_name(s), format ? format : "-", w, h);
    const GValue *v = gst_structure_get_value(s, "framerate"), *least = v, *most = v;
    if (v && GST_VALUE_HOLDS_FRACTION_RANGE(v)) {
      least = gst_value_get_fraction_range_min(v);
      most = gst_value_get_fraction_range_max(v);
    } else if (v && !GST_VALUE_HOLDS_FRACTION(v)) {
      least = most = NULL;
    }
    rate(out, least);
    rate(out, most);
    g_string_append_c(out, '\n');
  }
  gst_caps_unref(caps);
  return g_string_free(out, FALSE);
}
