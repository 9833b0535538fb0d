package arch

// Phi-4 with pictures: a SigLIP 2 whose last layer, norm and head are left out, as the projector reads the layer before; sizes
// come from the processor's configuration and the positions' table.
//
// Source: llama.cpp v0.5.0, conversion/phi.py: Phi4VisionMmprojModel.

import (
	"fmt"
	"math"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
)

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"Phi4ForCausalLMV"},
	Config: Keys{
		Fail(Not(Positive(Sub(Cfg(layerKeys...), 1))), "its vision tower has less than two layers"),
	}.Also(withoutLastLayer).Then(
		Let("patch_size", OfProcessor(Cfg("patch_size"))),
		Let("image_size", Mul(phiGrid, Cfg("patch_size"))),
	),
	Names: Rules{
		Rename("*model.vision_tower.vision_tower.*", "model.vision_tower.vision_tower.=>vision_tower."),
		Only("vision_tower.*|model.mm_projector.*|mm_projector.*"),
		Drop("*.vision_model.{head|post_layernorm}.*", "the projector reads the layer before the last"),
	}.Also(ProjectorRest),
	Tensors: Given(Is(Sub(Block, Cfg(layerKeys...)), 0), Drop("vision_tower.*", "the projector reads the layer before the last")).Then(
		On("vision_tower.*embeddings.patch_embedding.weight", phiPatches, Permute(0, 3, 1, 2)),
		nameAs("{model.mm_projector|mm_projector}.0.*", "mm.0"),
		nameAs("{model.mm_projector|mm_projector}.2.*", "mm.2"),
		Drop("{model.mm_projector|mm_projector}.*", "not read by llama.cpp"),
	),
	Keys: visionTower.Keys.Then(
		Set("projector_type", "phi4"),
		Set("vision.image_min_pixels", phiPixels("min_num_patches")),
		Set("vision.image_max_pixels", phiPixels("max_num_patches")),
		Set("use_gelu", true),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
	),
})

// withoutLastLayer counts one layer less under the first key that counts them.
var withoutLastLayer = func() Keys {
	var out Keys
	for i, k := range layerKeys {
		out = out.Also(When(All(Has(k), Not(Has(append([]string{" "}, layerKeys[:i]...)...))), Let(k, Sub(Cfg(k), 1))))
	}
	return out
}()

// phiPatches makes a convolution of a matrix over flattened patches, whose channels are innermost.
var phiPatches = View("patch_size, patch_size, channels in each row", func(b *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	n, err := b.Int(Cfg("patch_size"))
	if err == nil && len(v.Shape) != 2 {
		err = fmt.Errorf("shape %s, a matrix is needed", dims(v.Shape))
	}
	if err != nil {
		return v, err
	}
	return view.Reshape(v, v.Shape[0], n, n, -1)
})

func phiPixels(key string) Expr {
	return Mul(Trunc(Else(OfProcessor(Opt(key)), OfRoot(Cfg(key)))), Cfg("patch_size"), Cfg("patch_size"))
}

// phiGrid is how many patches a side of the square has that the table of positions covers.
var phiGrid = Fn("side of position_embedding", func(e *Env) (any, error) {
	for i := range e.Tensors {
		t := &e.Tensors[i]
		if !strings.HasSuffix(t.Name, "vision_model.embeddings.position_embedding.weight") || len(t.Shape) == 0 {
			continue
		}
		n := int64(math.Sqrt(float64(t.Shape[0])))
		if n*n != t.Shape[0] {
			return nil, &fault.Invalid{On: t.Name, Says: "shape " + dims(t.Shape) + " is no square of positions"}
		}
		return n, nil
	}
	return nil, &fault.Invalid{On: "checkpoint", Says: "no position_embedding.weight of a vision tower"}
})
