package llamacpp

import (
	"context"
	"os"
)

// HasMultimodal tells whether the runtime has llama.cpp's multimodal library; prebuilt packages often leave it out.
func (r *Runtime) HasMultimodal() bool {
	_, err := os.Stat(r.Path("mtmd"))
	return err == nil
}

// ProjectorArgs are the arguments of Project.
type ProjectorArgs struct {
	Slot    int    `json:"slot"`
	Path    string `json:"path"` // the projector's file
	Threads int    `json:"threads"`
}

// Projector is what llama.cpp tells of a projector that was loaded beside a model.
type Projector struct {
	Vision bool `json:"vision"`
	Audio  bool `json:"audio"`
	Rate   int  `json:"rate"` // samples a second of the sound that it takes; 0 without audio
}

// Project loads a projector beside a loaded model. It needs a runtime with the multimodal library.
func (c *Child) Project(ctx context.Context, a ProjectorArgs) (*Projector, error) {
	return request[Projector](ctx, c, "project", a, nil, nil)
}

// PerceiveArgs are the arguments of Perceive: a picture or a sound, one of them.
type PerceiveArgs struct {
	ContextOptions
	Slot   int       `json:"slot"`
	Before string    `json:"before"` // text around it
	After  string    `json:"after"`
	Width  int       `json:"width"` // of the picture
	Height int       `json:"height"`
	Pixels []byte    `json:"pixels"` // red, green, blue, row by row
	Sound  []float32 `json:"sound"`  // samples from -1 to 1
}

// Perceived is what a picture or a sound became.
type Perceived struct {
	Tokens int `json:"tokens"` // that the model saw in its place, with those of the text
}

// Perceive shows the model of a slot a picture or a sound and hands over the logits that follow.
func (c *Child) Perceive(ctx context.Context, a PerceiveArgs) (*Perceived, []float32, error) {
	var logits []float32
	p, err := request[Perceived](ctx, c, "perceive", a, func(v []float32) error {
		logits = append(logits, v...)
		return nil
	}, nil)
	return p, logits, err
}
