package recommend

import "slices"

// Knobs are settings that tune measured to be the best of a machine for a model. Zero fields were not searched.
type Knobs struct {
	Batch      int64   `json:"batch,omitempty"`
	MicroBatch int64   `json:"ubatch,omitempty"`
	Threads    int     `json:"threads,omitempty"`
	FlashAttn  string  `json:"flash_attn,omitempty"` // on, off
	KV         string  `json:"kv_type,omitempty"`
	Gain       float64 `json:"gain"` // over the default, as a factor
}

// Apply takes measured knobs over where the need stays within the budget, and says so.
func (c *Choice) Apply(s *Shape, k Knobs) {
	set := c.Setting
	if k.MicroBatch > 0 {
		set.MicroBatch = k.MicroBatch
	}
	if k.Batch > 0 {
		set.Batch = k.Batch
	}
	if k.Threads > 0 {
		set.Threads = k.Threads
	}
	switch {
	case k.FlashAttn == "off" && set.KV == "f16":
		set.FlashAttn = false
	case k.FlashAttn == "on":
		set.FlashAttn = true
	}
	if k.KV == "q8_0" && set.FlashAttn { // the other way round only memory decides
		set.KV = k.KV
	}
	if set == c.Setting {
		return
	}
	need := s.Needs(c.loaded(), set)
	if need.Total() > c.Budget {
		return
	}
	c.Setting, c.Memory = set, need
	c.reconsider(set)
	c.say("tuned", "-b %d -ub %d -t %d, cache %s, flash attention %v: measured here by quern tune, %.0f %% faster than the default", set.Batch, set.MicroBatch, set.Threads, set.KV, set.FlashAttn, 100*(k.Gain-1))
}

// reconsider takes back the reasons for values that are others now.
func (c *Choice) reconsider(set Setting) {
	stale := map[string]bool{"batch": true, "threads": true, "flash": true, "cache": true}
	c.Reasons = slices.DeleteFunc(c.Reasons, func(r Reason) bool { return stale[r.About] })
	if set.KV != "f16" {
		c.say("cache", "%s", set.KV)
	}
}
