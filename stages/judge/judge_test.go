package judge_test

import (
	"testing"

	"quern/convert/gguf"
	"quern/quantize/policy"
	"quern/stages/job"
	"quern/stages/judge"
)

// Next tokens are compared for models that predict them; embedders, rerankers, masked models and encoder-decoders say why not.
func TestWhatIsJudged(t *testing.T) {
	for _, c := range []struct {
		key    string
		value  any
		judged bool
	}{
		{"llama.context_length", uint32(2048), true},
		{"llama.attention.causal", true, true},
		{"llama.attention.causal", false, false},
		{"llama.pooling_type", uint32(3), false},
		{"llama.decoder_start_token_id", uint32(0), false},
	} {
		p := gguf.Plan{Metadata: []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: c.key, Value: c.value}}}
		s := &job.State{Files: []*job.Artifact{{Type: "Q8_0", Policy: &policy.Output{}, Plans: []gguf.Plan{p}}}}
		if why := (judge.Stage{}).Skip(s); (why == "") != c.judged {
			t.Errorf("%s = %v: %q", c.key, c.value, why)
		}
	}
}
