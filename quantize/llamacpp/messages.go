package llamacpp

import "quern/convert/gguf"

// OpenArgs starts a session: the worker loads the libraries and checks their version.
type OpenArgs struct {
	Dir   string `json:"dir"`
	Force bool   `json:"force"` // use another version than the pinned one
}

// System is what a worker runs on.
type System struct {
	Version  string   `json:"version"`  // what llama_version answers
	Features string   `json:"features"` // llama_print_system_info: instruction sets, OpenMP, Metal
	Devices  []Device `json:"devices"`
	Tensor   string   `json:"tensor,omitempty"` // "true" or "false": whether Metal uses the tensor units of M5 and later; "" without Metal
	Notes    []string `json:"notes,omitempty"`  // what the backends wrote when they were loaded
}

// Device is a compute device that ggml sees.
type Device struct {
	Name        string `json:"name"` // "CPU", "Metal", ...
	Description string `json:"description"`
	Kind        string `json:"kind"`    // "cpu", "gpu", "igpu", "accel"
	Backend     string `json:"backend"` // the backend that drives it
	Free        uint64 `json:"free"`    // bytes; 0 where unknown
	Total       uint64 `json:"total"`   // bytes
}

// ModelOptions says how to load a file.
type ModelOptions struct {
	Path         string `json:"path"`
	CPUOnly      bool   `json:"cpu_only"`      // no layer is offloaded; without it all are, where there is a GPU
	VocabOnly    bool   `json:"vocab_only"`    // tokenizer only: no weights are read
	CheckTensors bool   `json:"check_tensors"` // look for invalid values in quantized blocks while loading
	NoMmap       bool   `json:"no_mmap"`       // read the weights into memory instead of mapping the file
}

// Model is a loaded file. Slot names it in later calls.
type Model struct {
	Slot         int      `json:"slot"`
	Description  string   `json:"description"` // llama.cpp's own words, such as "llama 1B Q4_K - Medium"
	Architecture string   `json:"architecture"`
	Params       uint64   `json:"params"`
	Bytes        uint64   `json:"bytes"` // of all tensors
	TrainContext int      `json:"train_context"`
	Positions    int      `json:"positions"` // tokens for which the model has learned positions, beyond which it cannot go; 0: no such bound
	Embedding    int      `json:"embedding"` // width of the output embedding
	Layers       int      `json:"layers"`
	Heads        int      `json:"heads"`
	HeadsKV      int      `json:"heads_kv"`
	Classes      int      `json:"classes"`    // outputs of a classifier or reranker, else 0
	Classifier   bool     `json:"classifier"` // the file names labels of a classification head
	Encoder      bool     `json:"encoder"`
	Decoder      bool     `json:"decoder"`
	Recurrent    bool     `json:"recurrent"`
	Hybrid       bool     `json:"hybrid"`
	Diffusion    bool     `json:"diffusion"`
	Causal       bool     `json:"causal"`  // false for encoders such as BERT
	Pooling      string   `json:"pooling"` // the file's pooling type: "none", "mean", "cls", "last", "rank"; "" where the file has none
	Vocab        Vocab    `json:"vocab"`
	Template     string   `json:"template"` // the chat template, Jinja; may be empty
	Rerank       string   `json:"rerank"`   // the prompt of a reranker with {query} and {document} in it; may be empty
	Buffers      []Buffer `json:"buffers"`
	LoadSeconds  float64  `json:"load_seconds"`
}

// Vocab is the tokenizer of a loaded file. Ids are -1 where there is no such token.
type Vocab struct {
	Kind   string    `json:"kind"` // "none", "spm", "bpe", "wpm", "ugm", "rwkv", "plamo2"
	Tokens int       `json:"tokens"`
	BOS    int32     `json:"bos"`
	EOS    int32     `json:"eos"`
	EOT    int32     `json:"eot"`
	SEP    int32     `json:"sep"`
	AddBOS bool      `json:"add_bos"`
	AddEOS bool      `json:"add_eos"`
	AddSEP bool      `json:"add_sep"` // between the two texts of a pair
	Ends   []NamedID `json:"ends"`    // the tokens at which llama.cpp ends a generation
}

// NamedID is a token and its text in the vocabulary.
type NamedID struct {
	ID    int32  `json:"id"`
	Text  string `json:"text"`
	Plain bool   `json:"plain"` // the vocabulary holds it as ordinary text, not as a special token
}

// Buffer is memory that llama.cpp says it holds.
type Buffer struct {
	Device string `json:"device"` // such as "CPU_Mapped", "Metal"
	Use    string `json:"use"`    // "model", "KV", "RS", "compute", "output"
	Bytes  int64  `json:"bytes"`
}

// ContextOptions says how inference runs. Zero values are llama.cpp's defaults.
type ContextOptions struct {
	Context   int       `json:"context"`   // tokens a sequence; 0: what the operation needs
	Batch     int       `json:"batch"`     // largest logical batch; 0: 2048
	UBatch    int       `json:"ubatch"`    // largest physical batch; 0: 512
	Threads   int       `json:"threads"`   // 0: the physical cores
	Flash     string    `json:"flash"`     // "auto" (or ""), "on", "off"
	TypeK     gguf.Type `json:"type_k"`    // of the K cache; the zero value F32 means F16, llama.cpp's default
	TypeV     gguf.Type `json:"type_v"`    // of the V cache, likewise
	KVOnCPU   bool      `json:"kv_on_cpu"` // do not offload the KV cache
	Sequences int       `json:"sequences"` // 0: 1
	Unified   bool      `json:"unified"`   // sequences share one cache
}

// TokenizeArgs are the arguments of Tokenize.
type TokenizeArgs struct {
	Slot    int    `json:"slot"`
	Text    []byte `json:"text"`
	Special bool   `json:"special"` // add the tokens that the model adds around a text
	Parse   bool   `json:"parse"`   // texts of special tokens become these tokens
}

// DetokenizeArgs are the arguments of Detokenize.
type DetokenizeArgs struct {
	Slot   int     `json:"slot"`
	Tokens []int32 `json:"tokens"`
	Render bool    `json:"render"` // write special tokens as their text
}

// PromptArgs are the arguments of Prompt.
type PromptArgs struct {
	Slot int    `json:"slot"`
	User string `json:"user"`
}

// GenerateArgs are the arguments of Generate.
type GenerateArgs struct {
	ContextOptions
	Slot     int     `json:"slot"`
	Tokens   []int32 `json:"tokens"`
	N        int     `json:"n"`
	Continue bool    `json:"continue"` // go on after an end token
}

// Generation is greedy text and what was seen in the logits on the way.
type Generation struct {
	Tokens    []int32 `json:"tokens"`
	Text      []byte  `json:"text"` // raw bytes: whether they are UTF-8 is for the caller to see
	NonFinite int64   `json:"non_finite"`
	Lowest    Number  `json:"lowest"`  // of all finite logits
	Highest   Number  `json:"highest"` // of all finite logits
	Flat      int     `json:"flat"`    // steps at which all logits were equal
	Ended     bool    `json:"ended"`   // an end token was generated
	Shifts    bool    `json:"shifts"`  // positions of the cache can be moved, so that a long conversation can lose its beginning
	Seconds   float64 `json:"seconds"`
}

// LogitsArgs are the arguments of Logits. An encoder-decoder reads the tokens with its encoder, and one row follows: that of
// its decoder's first token.
type LogitsArgs struct {
	ContextOptions
	Slot   int     `json:"slot"`
	Tokens []int32 `json:"tokens"`
	From   int     `json:"from"` // first position whose logits are sent
}

// PerplexityArgs are the arguments of Perplexity. The text is cut into chunks of Context tokens, of which the second
// half is predicted, as llama-perplexity does.
type PerplexityArgs struct {
	ContextOptions
	Slot   int     `json:"slot"`
	Tokens []int32 `json:"tokens"`
	Chunks int     `json:"chunks"` // at most; 0: all
}

// Perplexity is exp of the mean negative log-likelihood of the predicted tokens.
type Perplexity struct {
	Value     Number  `json:"value"`
	Error     Number  `json:"error"` // standard error of Value
	Predicted int     `json:"predicted"`
	Chunks    int     `json:"chunks"`
	NonFinite int64   `json:"non_finite"` // logits that were NaN or infinite
	Seconds   float64 `json:"seconds"`
}

// DivergenceArgs are the arguments of Divergence and SaveLogits: a source and candidates over the same chunks.
type DivergenceArgs struct {
	ContextOptions
	Source     int     `json:"source"`     // slot of the source; -1: File holds its logits
	Candidates []int   `json:"candidates"` // slots; may be empty with File, which is then written
	Tokens     []int32 `json:"tokens"`
	Chunks     int     `json:"chunks"` // at most; 0: all
	File       string  `json:"file"`   // the source's log-probabilities, 16 bits each, compressed; "" keeps nothing
	MaxBytes   int64   `json:"max_bytes"`
	// MaxSeconds ends the comparison after the group of chunks beyond which the next would go further; 0: no bound. The
	// answer says how many chunks were judged.
	MaxSeconds float64 `json:"max_seconds"`
}

// Divergence compares a candidate's next-token distributions with its source's, as llama-perplexity --kl-divergence
// does, but for the source's perplexity: that program takes it from log-probabilities that it cut at 16 nats, which
// makes it too small; here it is exact, and so is LogRatio.
type Divergence struct {
	Perplexity Perplexity `json:"perplexity"` // the candidate's
	Source     Perplexity `json:"source"`     // the source's
	LogRatio   Number     `json:"log_ratio"`  // mean ln(PPL/PPL source)
	RatioError Number     `json:"ratio_error"`
	Mean       Number     `json:"mean"` // Kullback-Leibler divergence, nats a token
	MeanError  Number     `json:"mean_error"`
	Median     Number     `json:"median"`
	P90        Number     `json:"p90"`
	P95        Number     `json:"p95"`
	P99        Number     `json:"p99"`
	P999       Number     `json:"p999"`
	Max        Number     `json:"max"`
	SameTop    float64    `json:"same_top"` // share of positions with the same most likely token
	TopError   float64    `json:"top_error"`
	MeanDelta  Number     `json:"mean_delta"` // mean change of the right token's probability
	RMSDelta   Number     `json:"rms_delta"`
	Positions  int        `json:"positions"`
}

// Divergences is the answer to Divergence: one for each candidate, in their order.
type Divergences struct {
	Candidates []Divergence `json:"candidates"`
	Source     Perplexity   `json:"source"`
	FileBytes  int64        `json:"file_bytes"`
	Seconds    float64      `json:"seconds"`
}

// BenchArgs are the arguments of Bench: one test, as llama-bench runs it.
type BenchArgs struct {
	ContextOptions
	Slot        int  `json:"slot"`
	Prompt      int  `json:"prompt"`      // tokens of the prompt; 0: none
	Generate    int  `json:"generate"`    // tokens to generate; 0: none
	Depth       int  `json:"depth"`       // tokens in the cache before the clock starts
	Repetitions int  `json:"repetitions"` // 0, without warm-up: the context is made for its buffers' sizes, and nothing runs
	NoWarmup    bool `json:"no_warmup"`
	// MaxSeconds ends the repetitions when the next would go beyond it, warm-up included; one is always made. 0: no bound.
	MaxSeconds float64 `json:"max_seconds"`
}

// Bench holds the repetitions of one test.
type Bench struct {
	Tokens  int       `json:"tokens"` // of each repetition
	Seconds []float64 `json:"seconds"`
	Threads int       `json:"threads"`
	Buffers []Buffer  `json:"buffers"`
}

// EmbedArgs are the arguments of Embed.
type EmbedArgs struct {
	ContextOptions
	Slot    int       `json:"slot"`
	Texts   [][]int32 `json:"texts"`
	Pooling string    `json:"pooling"` // "" means the file's own, and the mean where it has none
}

// Embedded tells what follows as float frames: one vector of Width values for each text.
type Embedded struct {
	Pooling string `json:"pooling"`
	Width   int    `json:"width"`
}

// ImatrixArgs are the arguments of Imatrix.
type ImatrixArgs struct {
	ContextOptions
	Slot   int     `json:"slot"`
	Tokens []int32 `json:"tokens"`
	Chunks int     `json:"chunks"` // at most; 0: all
	Output bool    `json:"output"` // also for output.weight
}

// ImatrixDone ends a collection: the sums came before it as float frames, in the order of Entries.
type ImatrixDone struct {
	Entries    []ImatrixEntry `json:"entries"`
	Perplexity Perplexity     `json:"perplexity"` // of the text, on the way
}

// ImatrixEntry announces the sums of one weight.
type ImatrixEntry struct {
	Name   string  `json:"name"`
	Counts []int64 `json:"counts"` // rows seen: one for all matrices, or one for each expert
	Values int     `json:"values"` // floats that belong to the entry
}

// Usage is what a worker holds.
type Usage struct {
	PeakRSS int64    `json:"peak_rss"` // bytes; 0 where the system does not tell
	Buffers []Buffer `json:"buffers"`
}
