#include "shim.h"

// A demuxer that reads at its own pace pauses its task at the end and after an
// error. parsebin drops the errors of an element that it is just plugging in,
// and then this is all that is left to see.
int wp_gave_up(void *pipeline) {
  int found = 0;
  GstIterator *it = gst_bin_iterate_recurse(GST_BIN(pipeline));
  GValue item = G_VALUE_INIT;
  while (!found && gst_iterator_next(it, &item) == GST_ITERATOR_OK) {
    GstElement *e = g_value_get_object(&item);
    GST_OBJECT_LOCK(e);
    for (GList *l = e->sinkpads; l && !found; l = l->next) {
      GstPad *pad = l->data;
      GST_OBJECT_LOCK(pad);
      GstTask *task = GST_PAD_TASK(pad);
      found = task && gst_task_get_state(task) == GST_TASK_PAUSED;
      GST_OBJECT_UNLOCK(pad);
    }
    GST_OBJECT_UNLOCK(e);
    g_value_reset(&item);
  }
  g_value_unset(&item);
  gst_iterator_free(it);
  return found;
}
