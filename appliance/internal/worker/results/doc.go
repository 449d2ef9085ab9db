// Package results owns the folder that the analysis of a file fills: the log of
// what was found, the checkpoint from which a cut analysis goes on, and the files
// that are made of the log in the end.
//
// While an analysis runs the folder has
//
//	detections.jsonl.part  the log, synced in groups; see Log
//	annotated.mp4.part     a fragmented MP4, playable as it grows; worker/movie's
//	checkpoint.json        how far everything is; replaced at the end of each segment
//
// and once it has a summary.json it is complete, and the first three are gone.
// A crash at any moment leaves a folder that Open understands: the log's whole
// lines stand, the checkpoint is the old one or the new, and the making of the
// final files can be begun again as often as it takes.
//
// The package knows nothing of GStreamer or models, so that whoever reads results
// may import it. One process at a time may write a folder.
package results
