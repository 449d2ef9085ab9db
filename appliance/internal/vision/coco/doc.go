// Package coco measures how good detections are against the annotations of the
// COCO data set: mean average precision over boxes, computed as pycocotools
// does (cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py), so that the
// figures can be set beside published ones.
package coco
