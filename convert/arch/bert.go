package arch

// BERT, DistilBERT, RoBERTa, CamemBERT, XLM-R and Jina 2 and 3. Encoders with rotary positions of their own kind (Nomic, NeoBERT,
// EuroBERT, ModernBERT) have a file of their own.
//
// Peculiar: pooler and pre-training heads are left out; a classifier is written with its labels, unless these are the two
// dummies of transformers; RoBERTa's positions begin behind the padding token, and its position embedding is cut by that;
// Jina 3 is an XLM-R with an adapter for each task.
//
// Source: llama.cpp v0.5.0, conversion/bert.py: BertModel, DistilBertModel, RobertaModel, XLMRobertaModel, JinaBertV2Model.

import (
	"maps"
	"slices"
	"strconv"

	"quern/convert/vocab"
)

// bertNames take BERT's names to what the tables know.
var bertNames = Rules{
	Strip("bert."),
	Rename("*.gamma", ".gamma=>.weight"),
	Rename("*.beta", ".beta=>.bias"),
	Drop("embeddings.position_ids", "computed at run time"),
	Drop("pooler.dense.{weight|bias}", "llama.cpp pools by itself"),
	Drop("cls.predictions*|cls.seq_relationship*", "only used in training"),
}.Also(TextNames)

var bert = Register(Arch{
	HF:      []string{"BertModel", "BertForMaskedLM", "CamembertModel", "BertForSequenceClassification"},
	GGUF:    "bert",
	Config:  Keys{warnLabels},
	Names:   bertNames,
	Tensors: Given(labels, Rename("classifier.{weight|bias}", "classifier=>classifier.out_proj")),
	Keys:    TextKeys.Then(Set("attention.causal", false), PoolingKey, Set("classifier.output_labels", labels)),
	Vocab:   vocab.BERT,
})

var _ = Register(Arch{
	Base:  bert,
	HF:    []string{"DistilBertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification"},
	Names: Rules{Strip("distilbert."), Drop("vocab_*", "only used in training")}.Also(bertNames),
	Keys:  Keys{Set("attention.layer_norm_epsilon", 1e-12)}.Also(bert.Keys),
})

// Positions behind the padding token.
var (
	hasPad         = Not(Null(Opt("pad_token_id")))
	afterPad       = Add(1, Cfg("pad_token_id"))
	cutPositions   = Given(hasPad, On("embeddings.position_embeddings.weight", Keep(0, afterPad, nil)))
	fewerPositions = When(All(hasPad, Has("max_position_embeddings")),
		Let("max_position_embeddings", Sub(Cfg("max_position_embeddings"), afterPad)))
)

var roberta = Register(Arch{
	Base:    bert,
	HF:      []string{"RobertaModel", "RobertaForSequenceClassification"},
	Config:  bert.Config.Also(fewerPositions),
	Names:   Rules{Strip("roberta.")}.Also(bertNames),
	Tensors: cutPositions.Also(bert.Tensors),
	Vocab:   vocab.RoBERTa,
})

var _ = Register(Arch{
	Base:   roberta,
	HF:     []string{"XLMRobertaModel", "XLMRobertaForSequenceClassification"},
	Switch: []Case{{If: Opt("lora_adaptations"), To: jina3}},
	Vocab:  vocab.XLMRoberta,
})

// jina3 takes over when XLM-R's steps over the configuration are done.
var jina3 = Register(Arch{
	Base:   roberta,
	GGUF:   "jina-bert-v3",
	Config: Keys{},
	Names: Rules{
		Strip("roberta."),
		Rename("*.parametrizations.*.original", ".original=>"),
		Rename("*.parametrizations.*", ".parametrizations.=>."),
	}.Also(bertNames),
	Tensors: Rules{Drop("pooler.dense*.0.lora_{A|B}", "llama.cpp pools by itself"), taskAdapter}.Also(roberta.Tensors),
	Vocab:   vocab.XLMRoberta,
})

var _ = Register(Arch{
	Base:  bert,
	HF:    []string{"JinaBertModel", "JinaBertForMaskedLM"},
	GGUF:  "jina-bert-v2",
	Vocab: vocab.JinaBERT,
	Odd:   []string{"ffn_up"}, // gate and up in one, in some
})

// labels are what a classifier's outputs mean, nil for none and for the two dummies that transformers adds. A configuration that
// is taken as it stands has texts for keys, and so their order.
var labels = Fn("id2label, unless it is LABEL_0 and another", func(e *Env) (any, error) {
	byID, _ := e.Config.Object("id2label")
	if len(byID) == 0 || len(byID) == 2 && byID["0"] == "LABEL_0" {
		return nil, nil
	}
	keys := slices.Sorted(maps.Keys(byID))
	if !e.AsIs {
		slices.SortFunc(keys, byNumber)
	}
	out := make([]any, len(keys))
	for i, k := range keys {
		out[i] = byID[k]
	}
	return out, nil
})

func byNumber(a, b string) int {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return x - y
}

// warnLabels tells where the order of the labels is not that of the outputs.
var warnLabels = Do("a warning where labels are in the order of texts", func(m *Meta) error {
	if byID, _ := m.Config.Object("id2label"); m.AsIs && len(byID) > 10 {
		m.b.Warn("config.json: the %d labels are written in the order of their ids as texts (0, 1, 10, 11, 2 ...), as the reference does", len(byID))
	}
	return nil
})
