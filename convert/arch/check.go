package arch

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
)

// What must agree before anything is written: the shapes of the main tensors with the keys that llama.cpp will read them by,
// and the blocks with each other. An entry's Odd exempts roles, its Uneven blocks.

// roleShapes are the shapes of the main matrices and norms, outermost first, in words that dimension knows. "*" is any.
var roleShapes = map[string][]string{
	"token_embd": {"*", "embd"}, "output": {"*", "embd"}, "output_norm": {"embd"},
	"attn_norm": {"embd"}, "ffn_norm": {"embd"}, "attn_post_norm": {"embd"}, "ffn_post_norm": {"embd"},
	"attn_q": {"heads*key", "embd"}, "attn_k": {"kv*key", "embd"}, "attn_v": {"kv*value", "embd"}, "attn_out": {"embd", "heads*value"},
	"ffn_gate": {"ff", "embd"}, "ffn_up": {"ff", "embd"}, "ffn_down": {"embd", "ff"},
	"ffn_gate_exp": {"experts", "*", "embd"}, "ffn_up_exp": {"experts", "*", "embd"}, "ffn_down_exp": {"experts", "embd", "*"},
	"ffn_gate_inp": {"experts", "embd"},
}

// mainRoles are the matrices without which a block of their kind does not work.
var mainRoles = []string{"attn_q", "attn_k", "attn_v", "attn_qkv", "attn_out", "ffn_gate", "ffn_up", "ffn_down", "ffn_gate_exp", "ffn_up_exp",
	"ffn_down_exp", "ffn_gate_up_exp", "ffn_gate_inp"}

// Check compares the outputs with the metadata. Errors are *fault.Invalid.
func (b *Build) Check(kvs []gguf.KV) error {
	if b.Env.Arch.Projector() {
		// The reference writes such a file, of which nothing can be made.
		if len(b.Outputs) == 0 {
			return noTower("checkpoint", "no tensor of a vision or audio tower")
		}
		return nil
	}
	d := dimensions{keys: map[string]any{}, arch: b.GGUF}
	for _, kv := range kvs {
		d.keys[kv.Key] = kv.Value
	}
	blocks := map[int64]map[string]bool{}
	embedding := false
	for i := range b.Outputs {
		o := &b.Outputs[i]
		embedding = embedding || o.Role == "token_embd"
		block := blockOf(o.Name)
		if block >= 0 && o.Role != "" && strings.Contains(o.Name, "blk.") {
			if blocks[block] == nil {
				blocks[block] = map[string]bool{}
			}
			blocks[block][o.Role] = true
		}
		// Biases and scales follow their matrices; to check these is enough.
		if slices.Contains(b.Env.Arch.Odd, o.Role) || !strings.HasSuffix(o.Name, ".weight") {
			continue
		}
		if err := d.check(o, max(block, 0)); err != nil {
			return err
		}
	}
	// Drafts and other architectures without a token embedding of their own have no such role in the tables.
	if !embedding && b.names.has["token_embd"] && !slices.Contains(b.Env.Arch.Odd, "token_embd") {
		return &fault.Invalid{On: "checkpoint", Says: "no token embedding (token_embd) among its tensors"}
	}
	return b.checkBlocks(blocks, &d)
}

// checkBlocks wants every block to be there, and none to lack main matrices of those that are otherwise like it.
func (b *Build) checkBlocks(blocks map[int64]map[string]bool, d *dimensions) error {
	// Blocks may differ in kind (attention here, a state space there). What is wrong is a block that has a part of what another has: a
	// matrix was lost. Two kinds of which neither is a part of the other are a hybrid.
	kinds := map[string]int64{} // the main roles of a block -> the first such block
	for i := range b.Blocks {
		// A file of prediction layers alone counts the trunk's blocks and has none of them.
		if blocks[i] == nil && !b.Options.MTPOnly && b.names.inBlocks() && !d.empty(i) && !b.absent(i) {
			return &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("no tensor of layer %d, the configuration has %d layers", i, b.Blocks)}
		}
		kind := kindOf(blocks[i])
		if _, ok := kinds[kind]; !ok {
			kinds[kind] = i
		}
	}
	if b.Env.Arch.Uneven {
		return nil
	}
	for _, less := range slices.Sorted(maps.Keys(kinds)) {
		for _, more := range slices.Sorted(maps.Keys(kinds)) {
			if lacks := difference(more, less); less != "" && more != less && len(lacks) > 0 && len(difference(less, more)) == 0 {
				return &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("layer %d lacks %s, which layer %d has", kinds[less], strings.Join(lacks, ", "), kinds[more])}
			}
		}
	}
	return nil
}

// absent tells whether a block is a prediction layer that is counted and not written.
func (b *Build) absent(block int64) bool {
	more, err := b.nextLayers()
	return err == nil && b.Env.Arch.NextN != nil && b.Env.Arch.NextN.Absent && block >= b.Blocks-more
}

func kindOf(roles map[string]bool) string {
	var main []string
	for _, r := range mainRoles {
		if roles[r] {
			main = append(main, r)
		}
	}
	return strings.Join(main, " ")
}

// difference is what a has and b has not.
func difference(a, b string) []string {
	has := strings.Fields(b)
	return slices.DeleteFunc(strings.Fields(a), func(r string) bool { return slices.Contains(has, r) })
}

// feedForward are the roles whose width some entries state by a rule of thumb: the reference converts a checkpoint of another
// width all the same, and llama.cpp says what it makes of it.
var feedForward = []string{"ffn_up", "ffn_down"}

// dimensions reads the numbers of a file from its metadata.
type dimensions struct {
	keys map[string]any
	arch string
}

func (d *dimensions) check(o *Output, block int64) error {
	want, ok := roleShapes[o.Role]
	if !ok || len(want) != len(o.Shape()) {
		return nil // other layouts, such as convolutions, are the entry's own affair
	}
	for i, word := range want {
		n, ok := d.product(word, block)
		if ok && n != o.Shape()[i] {
			return &fault.Invalid{On: orName(o), Says: fmt.Sprintf("shape %s, but the configuration makes dimension %d (%s) %d", dims(o.Shape()), i, word, n),
				Next: "config.json and the tensors are not of the same model"}
		}
	}
	return nil
}

func orName(o *Output) string {
	if o.Source != "" {
		return o.Source
	}
	return o.Name
}

// product evaluates words joined by *; ok is false where one is not known.
func (d *dimensions) product(text string, block int64) (int64, bool) {
	n := int64(1)
	for word := range strings.SplitSeq(text, "*") {
		x, ok := d.word(word, block)
		if !ok {
			return 0, false
		}
		// Two factors of 32 bits at most: what does not fit is negative, and no shape is.
		n *= x
	}
	return n, true
}

func (d *dimensions) word(word string, block int64) (int64, bool) {
	switch word {
	case "embd":
		return d.number("embedding_length", block)
	case "heads":
		return d.number("attention.head_count", block)
	case "kv":
		// Absent, there are as many as heads: llama.cpp's own default.
		if n, ok := d.number("attention.head_count_kv", block); ok {
			return n, true
		}
		return d.number("attention.head_count", block)
	case "ff":
		return d.number("feed_forward_length", block)
	case "experts":
		return d.number("expert_count", block)
	// The same default as llama.cpp's for a head's width.
	case "key", "value":
		if n, ok := d.number("attention."+word+"_length", block); ok {
			return n, true
		}
		embd, ok := d.number("embedding_length", block)
		heads, too := d.number("attention.head_count", block)
		if !ok || !too || heads == 0 {
			return 0, false
		}
		return embd / heads, true
	}
	return 0, false
}

// empty tells whether the keys say that just this block has neither attention nor a network: some searched architectures skip
// whole layers.
func (d *dimensions) empty(block int64) bool {
	for _, key := range []string{"attention.head_count", "feed_forward_length"} {
		list, ok := d.keys[d.arch+"."+key].([]int32)
		if !ok || block >= int64(len(list)) || list[block] != 0 {
			return false
		}
	}
	return true
}

// number is a key's value for a block: of a list the block's element.
func (d *dimensions) number(key string, block int64) (int64, bool) {
	switch v := d.keys[d.arch+"."+key].(type) {
	case uint32:
		return int64(v), true
	case []int32:
		if block < int64(len(v)) {
			return int64(v[block]), true
		}
	}
	return 0, false
}
