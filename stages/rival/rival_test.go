package rival

import (
	"slices"
	"strings"
	"testing"

	"quern/quantize/policy"
	"quern/stages/job"
)

var sizes = []size{{policy.IQ3S, 90}, {policy.Q3_K_M, 100}, {policy.Q4_K_S, 120}, {policy.Q4_K_M, 125}}

// The rival is the largest type that takes no more than the mixture; those that the user names come beside it, once each.
func TestChoice(t *testing.T) {
	for bytes, want := range map[int64]string{80: "", 90: "IQ3_S", 119: "Q3_K_M", 120: "Q4_K_S", 500: "Q4_K_M"} {
		if got := next(sizes, bytes); got != want {
			t.Errorf("next to %d bytes: %q, want %q", bytes, got, want)
		}
	}
	types, bytes := chosen(sizes, []string{"q4_k_m", "Q3_K", "15"}, "IQ3_S")
	if want := []string{"IQ3_S", "Q3_K_M", "Q4_K_M"}; !slices.Equal(types, want) || bytes != 315 {
		t.Errorf("chosen %v of %d bytes, want %v of 315", types, bytes, want)
	}
	if types, _ := chosen(sizes, nil, ""); len(types) != 0 {
		t.Errorf("nothing is smaller, and %v was chosen", types)
	}
}

// The sentence says who wins, with both numbers; a tie is no victory.
func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		mix  job.Rival
		wins bool
		says string
	}{
		{job.Rival{KLD: 0.01, Bytes: 110}, true, "beats Q3_K_M"},
		{job.Rival{KLD: 0.03, Bytes: 110}, false, "does not beat Q3_K_M"},
		{job.Rival{KLD: 0.02, Bytes: 110}, false, "does not beat Q3_K_M"},
	} {
		r := &job.Rivals{Next: "Q3_K_M", Files: []job.Rival{test.mix, {Type: "IQ3_S", KLD: 9}, {Type: "Q3_K_M", KLD: 0.02, Bytes: 100}}}
		says := verdict(r)
		if r.Beats == nil || *r.Beats != test.wins || !strings.HasPrefix(says, test.says) || !strings.Contains(says, "against 0.020000 in 100 B") {
			t.Errorf("%v: %q, beats %v", test.mix.KLD, says, r.Beats)
		}
	}
}

// Types that suit only models which were trained in them are no rivals.
func TestNoRivals(t *testing.T) {
	for _, k := range policy.Kinds() {
		special := slices.Contains([]string{"TQ1_0", "TQ2_0", "Q1_0", "Q2_0", "MXFP4_MOE", "COPY", "F32", "F16", "BF16"}, k.Name)
		if k.Type.ForAny() == special {
			t.Errorf("%s: %v", k.Name, k.Type.ForAny())
		}
	}
}
