package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/watchpost/watchpost/appliance/internal/vision"
	"github.com/watchpost/watchpost/appliance/internal/vision/coco"
	"github.com/watchpost/watchpost/appliance/internal/vision/model"
	"github.com/watchpost/watchpost/appliance/internal/worker/media"
	"github.com/watchpost/watchpost/gst/engine"
	"github.com/watchpost/watchpost/gst/plan"
	"github.com/watchpost/watchpost/hw/accel"
)

// accuracy holds the product's whole road, from the file through GStreamer's
// decoder and our scaler, against the figures of an independent implementation; and
// beside it the same pictures scaled as that one scales them (bilinear, no
// low-pass), which tells what of a difference is the scaler's.
func accuracy(ctx context.Context, b *bench) error {
	set, err := coco.Load(filepath.Join(b.media, "coco", "instances.json"))
	if err != nil {
		return err
	}
	d, err := b.detector(model.Options{Threads: 2, Threshold: 0.01, NMSIoU: 0.65, AllClasses: true})
	if err != nil {
		return err
	}
	defer d.Close()
	if err := b.gstreamer(); err != nil {
		return err
	}
	scaler := engine.NewScaler()
	defer scaler.Close()
	var results []coco.Result
	for _, img := range set.Images {
		path := filepath.Join(b.media, "coco", "images", filepath.Base(img.FileName))
		var failed error
		err := engine.Read(ctx, plan.Source{URL: path}, engine.Handlers{
			Info: func(engine.Info) {}, Warning: func(string) {},
			Frame: func(f *engine.Frame) {
				defer f.Release()
				found, err := detectFrame(d, scaler, f)
				if err != nil {
					failed = err
					return
				}
				results = append(results, set.Results(img.ID, found)...)
			},
		})
		if err != nil || failed != nil {
			return fmt.Errorf("image %s: %w", img.FileName, errorsFirst(err, failed))
		}
	}
	reference, err := coco.Run(ctx, d, set, filepath.Join(b.media, "coco", "images"))
	if err != nil {
		return err
	}
	s := coco.Evaluate(set, reference, coco.All)
	b.report("mAP50-95, reference scaling", s.MAP, "", within(0.356, 0.01))
	b.report("mAP50, reference scaling", s.MAP50, "", within(0.551, 0.01))
	s = coco.Evaluate(set, results, coco.All)
	b.report("mAP50-95", s.MAP, "", within(0.356, 0.01))
	b.report("mAP50", s.MAP50, "", within(0.551, 0.01))
	return nil
}

func detectFrame(d *model.Detector, s *engine.Scaler, f *engine.Frame) ([]vision.Detection, error) {
	w, h := d.InputSize(f.Width, f.Height)
	small, err := s.Scale(f, w, h)
	if err != nil {
		return nil, err
	}
	defer small.Release()
	return d.Detect(vision.RGB{Width: w, Height: h, Stride: small.Stride[0], Pix: small.Planes[0]}, f.Width, f.Height)
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) gstreamer() error {
	return engine.Start(engine.Options{Registry: filepath.Join(b.data, media.RegistryFile), Log: b.log})
}

// detector is the default model, read from the media folder.
func (b *bench) detector(o model.Options) (*model.Detector, error) {
	m, err := model.Read(b.modelPath())
	if err != nil {
		return nil, err
	}
	if b.runtime == nil { // one for the process, and its life long
		if b.runtime, err = accel.Open(accel.Find(b.data)); err != nil {
			return nil, err
		}
	}
	return model.NewDetector(b.runtime, m, o)
}

func (b *bench) modelPath() string { return filepath.Join(b.media, "models", "yolox_nano.onnx") }
