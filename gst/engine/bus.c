#include "shim.h"
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

// What is missing for caps (a decoder's, a parser's) is of pictures if they are; an
// element that is missing by its name is taken for such.
static int of_pictures(const GstStructure *missing) {
  GstCaps *caps = NULL;
  if (!gst_structure_get(missing, "detail", GST_TYPE_CAPS, &caps, NULL) || !caps) return 1;
  const char *name = gst_caps_get_size(caps) > 0 ? gst_structure_get_name(gst_caps_get_structure(caps, 0)) : "";
  int yes = g_str_has_prefix(name, "video/") || g_str_has_prefix(name, "image/");
  gst_caps_unref(caps);
  return yes;
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
        out->picture = of_pictures(s);
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
