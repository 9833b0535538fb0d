package arch

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/fault"
)

// NextN declares multi-token prediction layers that stand behind the last block of the checkpoint, under the numbers that
// follow. --no-mtp drops them, --mtp keeps them and what they share with the trunk.
type NextN struct {
	Layers Expr     // how many; nil value: none
	Trunk  Expr     // number of the trunk's blocks; nil: num_hidden_layers
	Shared []string // tensors that --mtp keeps too
	Absent bool     // they are counted, but their tensors are not written
}

// sharedTensors is what most families' prediction layers share with the trunk.
var sharedTensors = []string{"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}

func (n *NextN) trunk() Expr {
	if n.Trunk != nil {
		return n.Trunk
	}
	return Cfg("num_hidden_layers")
}

// nextLayers is how many blocks the prediction layers add.
func (b *Build) nextLayers() (int64, error) {
	n := b.Env.Arch.NextN
	if n == nil || b.Options.NoMTP {
		return 0, nil
	}
	v, err := Else(n.Layers, 0).Eval(b.Env)
	if err != nil {
		return 0, err
	}
	i, ok := integer(v)
	if !ok || !i.IsInt64() {
		return 0, &fault.Invalid{On: "config.json: " + n.Layers.String(), Says: "an integer is needed, not " + show(v)}
	}
	return i.Int64(), nil
}

// NextNRule drops by --mtp and --no-mtp; an entry with NextN puts it behind its other Names.
func NextNRule(n *NextN) Rule {
	return Code("*", "keep or drop the prediction layers (--mtp, --no-mtp)", func(b *Build, it Item) ([]Item, error) {
		if !b.Options.NoMTP && !b.Options.MTPOnly {
			return []Item{it}, nil
		}
		trunk, err := b.Int(n.trunk())
		if err != nil {
			return nil, err
		}
		rest, ok := strings.CutPrefix(it.Name, "model.layers.")
		num, _, _ := strings.Cut(rest, ".")
		extra := ok && isDigits(num) && blockOf(it.Name) >= trunk
		switch {
		case extra && b.Options.NoMTP:
			b.drop(it.Source, "--no-mtp leaves the prediction layers out")
			return nil, nil
		case b.Options.MTPOnly && !extra && !n.shares(it.Name):
			b.drop(it.Source, "--mtp takes the prediction layers alone")
			return nil, nil
		}
		return []Item{it}, nil
	})
}

func (n *NextN) shares(name string) bool {
	shared := n.Shared
	if shared == nil {
		shared = sharedTensors
	}
	for _, s := range shared {
		if s == name {
			return true
		}
	}
	return false
}

// NextNCount is how many prediction layers are written, nil for none: the value of nextn_predict_layers.
func NextNCount(layers Expr) Expr {
	return Fn(fmt.Sprintf("%s unless --no-mtp", layers), func(e *Env) (any, error) {
		if e.Options.NoMTP {
			return nil, nil
		}
		return layers.Eval(e)
	})
}

// dropNextN leaves out prediction layers of architectures for which llama.cpp has no use for them.
var dropNextN = Given(pastTrunk, Drop("model.layers.#.*", "llama.cpp does not run the prediction layers of this architecture"))[0]

// pastTrunk holds for tensors of blocks behind the trunk's last one.
var pastTrunk = Fn("block is not among num_hidden_layers", func(e *Env) (any, error) {
	n, err := e.Int(Cfg("num_hidden_layers"))
	return e.block >= n, err
})

// mtpNames gives tensors that a checkpoint keeps under "mtp." the names of layers behind the trunk: a layer's own the number
// behind the trunk's last, and what all prediction layers share to the first of them, or to every one.
func mtpNames(trunk Expr, every bool) Rules {
	return Rules{
		Code("mtp.layers.#.*", "number behind the trunk's layers", func(b *Build, it Item) ([]Item, error) {
			num, rest, _ := strings.Cut(strings.TrimPrefix(it.Name, "mtp.layers."), ".")
			n, err := b.Int(trunk)
			if err != nil {
				return nil, err
			}
			i, err := strconv.ParseInt(num, 10, 64)
			if err != nil || i >= maxBlocks {
				return nil, &fault.Invalid{On: it.Source, Says: "no number of a prediction layer: " + num}
			}
			it.Name = fmt.Sprintf("model.layers.%d.%s", n+i, rest)
			return []Item{it}, nil
		}),
		Code("mtp.{fc|pre_fc_norm_embedding|pre_fc_norm_hidden|norm}.*", "belongs to the layers behind the trunk", func(b *Build, it Item) ([]Item, error) {
			word, rest, _ := strings.Cut(strings.TrimPrefix(it.Name, "mtp."), ".")
			return b.behind(it, trunk, sharedNames[word]+"."+rest, every)
		}),
	}
}

// sharedNames are the names of a layer's tensors that "mtp." keeps outside of its layers.
var sharedNames = map[string]string{"fc": "eh_proj", "pre_fc_norm_embedding": "enorm", "pre_fc_norm_hidden": "hnorm", "norm": "shared_head.norm"}

// behind gives a tensor to the first layer behind the trunk, or to every one.
func (b *Build) behind(it Item, trunk Expr, name string, every bool) ([]Item, error) {
	n, err := b.Int(trunk)
	if err != nil {
		return nil, err
	}
	var out []Item
	for i := n; i == n || every && i < b.Blocks; i++ {
		it.Name = fmt.Sprintf("model.layers.%d.%s", i, name)
		out = append(out, it)
	}
	return out, nil
}

// behindTrunk holds for tensors of prediction layers.
func behindTrunk(n *NextN) Expr {
	return Fn("layer is behind the trunk", func(e *Env) (any, error) {
		trunk, err := e.Int(n.trunk())
		return e.block >= trunk, err
	})
}
