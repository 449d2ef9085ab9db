#include "shim.h"
#include <string.h>

GstCaps *wp_caps_new(const char *text) { return gst_caps_from_string(text); }
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

int wp_factory_takes(const char *factory, GstCaps *caps, int whole) {
  GstElementFactory *f = gst_element_factory_find(factory);
  if (!f) return 0;
  int yes = whole ? gst_element_factory_can_sink_all_caps(f, caps)
                  : gst_element_factory_can_sink_any_caps(f, caps);
  gst_object_unref(f);
  return yes;
}

gint64 wp_duration(void *pipeline) {
  gint64 d = 0;
  if (!gst_element_query_duration(GST_ELEMENT(pipeline), GST_FORMAT_TIME, &d)) return 0;
  return d > 0 ? d : 0;
}
