package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/gguf"
	"quern/hfclient"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp"
	"quern/quantize/policy"
	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/prove"

	"github.com/urfave/cli/v2"
)

// workerName is the hidden command by which the binary starts itself for inference.
const workerName = "inference-worker"

func outFlag() cli.Flag {
	return &cli.StringFlag{Name: "out", Aliases: []string{"o"}, Usage: "`PATH`: a name that ends in .gguf is the file, any other is the folder (default models/)"}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "plan everything, write nothing"}
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "do it again even if an earlier run is proven"}
}

func workFlags() []cli.Flag {
	const cat = "Work"
	return []cli.Flag{
		&cli.StringFlag{Name: "kernel", Value: "auto", Usage: "`KERNEL` that quantizes: auto, avx512, avx2, neon, go, or llamacpp for the library's own", Category: cat},
		&cli.IntFlag{Name: "workers", Usage: "`N` cores that build (default all)", Category: cat},
	}
}

func hubFlags() []cli.Flag {
	const cat = "Hub"
	return []cli.Flag{
		&cli.BoolFlag{Name: "stream", Usage: "build from the Hub without keeping the source: disk for the output alone", Category: cat},
		&cli.BoolFlag{Name: "offline", Usage: "use what the cache has, touch no network", Category: cat},
		&cli.StringFlag{Name: "cache-dir", Usage: "`DIR` shared with Python's client (default from HF_HUB_CACHE, HF_HOME)", Category: cat},
		&cli.IntFlag{Name: "connections", Usage: "`N` connections at once in all (default 16)", Category: cat},
		&cli.StringFlag{Name: "limit-rate", Usage: "at most `RATE` bytes a second, such as 20M", Category: cat},
	}
}

func convertFlags() []cli.Flag {
	const cat = "Conversion"
	return []cli.Flag{
		&cli.StringFlag{Name: "as", Usage: "convert as the architecture `CLASS`, whatever config.json says", Category: cat},
		&cli.StringFlag{Name: "pre", Usage: "`NAME` of the pre-tokenizer, in place of the identified one", Category: cat},
		&cli.StringFlag{Name: "model-name", Usage: "`NAME` for general.name; an empty one leaves the key out", Category: cat},
		&cli.StringFlag{Name: "metadata", Usage: "JSON `FILE` whose keys override general.*", Category: cat},
		&cli.BoolFlag{Name: "strict", Usage: "fail on a broken model card, as the reference does", Category: cat},
		&cli.BoolFlag{Name: "fp8-as-q8", Usage: "what is stored in eight-bit floats as Q8_0, whatever --type says", Category: cat},
		&cli.BoolFlag{Name: "fuse-qkv", Usage: "one tensor for query, key and value", Category: cat},
		&cli.BoolFlag{Name: "fuse-gate-up-exps", Usage: "one tensor for the experts' gate and up", Category: cat},
		&cli.BoolFlag{Name: "mtp", Usage: "the multi-token prediction layers alone", Category: cat},
		&cli.BoolFlag{Name: "no-mtp", Usage: "leave the multi-token prediction layers out", Category: cat},
		&cli.BoolFlag{Name: "dspark", Usage: "the DSpark draft of the checkpoint alone", Category: cat},
		&cli.BoolFlag{Name: "mistral-format", Usage: "read Mistral's own layout (params.json, consolidated*.safetensors) though there is a config.json", Category: cat},
		&cli.BoolFlag{Name: "disable-mistral-community-chat-template", Usage: "of that layout: no chat template that the checkpoint does not have", Category: cat},
		&cli.StringFlag{Name: "target-model-dir", Usage: "`DIR` of the model that a draft was made for", Category: cat},
		&cli.BoolFlag{Name: "sentence-transformers-dense-modules", Usage: "take the dense modules too", Category: cat},
	}
}

func splitFlags() []cli.Flag {
	const cat = "Parts"
	return []cli.Flag{
		&cli.IntFlag{Name: "split-max-tensors", Usage: "at most `N` tensors a part", Category: cat},
		&cli.StringFlag{Name: "split-max-size", Usage: "at most `SIZE` of tensors a part, such as 4G", Category: cat},
		&cli.BoolFlag{Name: "no-tensor-first-split", Usage: "the first part holds the metadata alone", Category: cat},
	}
}

// splitting reads the limits of a part, in the units of llama-gguf-split.
func splitting(c *cli.Context) (gguf.Splitting, error) {
	s := gguf.Splitting{MaxTensors: c.Int("split-max-tensors"), EmptyFirst: c.Bool("no-tensor-first-split")}
	if s.MaxTensors < 0 {
		return s, usagef("", "--split-max-tensors takes a positive number")
	}
	if v := c.String("split-max-size"); v != "" && v != "0" {
		n, err := parseBytes(v)
		if err != nil {
			return s, usagef("write a size such as 500M or 4G", "--split-max-size %q is not a size", v)
		}
		s.MaxBytes = n
	}
	return s, nil
}

// convertOptions reads what the commands that convert have in common, and refuses what excludes itself before a model is opened.
func convertOptions(c *cli.Context) (convert.Options, error) {
	o := convert.Options{
		As: c.String("as"), Pre: c.String("pre"), Strict: c.Bool("strict"),
		FP8AsQ8: c.Bool("fp8-as-q8"), FuseQKV: c.Bool("fuse-qkv"), FuseGateUp: c.Bool("fuse-gate-up-exps"), MTPOnly: c.Bool("mtp"), NoMTP: c.Bool("no-mtp"),
		DSpark: c.Bool("dspark"), Dense: c.Bool("sentence-transformers-dense-modules"), VocabOnly: c.Bool("vocab-only"), Projector: c.Bool("mmproj"),
		Mistral: c.Bool("mistral-format"), OwnTemplate: c.Bool("disable-mistral-community-chat-template"),
	}
	if c.IsSet("model-name") {
		name := c.String("model-name")
		o.ModelName = &name
	}
	if o.MTPOnly && o.NoMTP {
		return o, usagef("", "--mtp and --no-mtp exclude one another")
	}
	if t := strings.ToLower(c.String("type")); t != "" {
		o.Type = arch.FileType(t)
		if !o.Type.Valid() {
			return o, usagef("use one of auto, f32, f16, bf16, q8_0, tq1_0, tq2_0; `quern quantize` makes the other types", "--type %q is not a type that checkpoints are converted to", t)
		}
	}
	if f := c.String("metadata"); f != "" {
		b, err := os.ReadFile(f)
		if err != nil {
			return o, err
		}
		o.Metadata = b
	}
	if d := c.String("target-model-dir"); d != "" {
		if _, err := os.Stat(d); err != nil {
			return o, err
		}
		o.Target, o.TargetDir = os.DirFS(d), d
	}
	return o, nil
}

func wishFlags() []cli.Flag {
	const cat = "Recommendation"
	return []cli.Flag{
		&cli.Int64Flag{Name: "context", Aliases: []string{"c"}, Usage: "plan for `N` tokens of context (default 8192 or the model's limit)", Category: cat},
		&cli.StringFlag{Name: "prefer", Value: "balanced", Usage: "`WHAT`: quality, balanced, speed", Category: cat},
		&cli.Float64Flag{Name: "min-speed", Usage: "at least `N` generated tokens a second (default 7)", Category: cat},
		&cli.Int64Flag{Name: "parallel", Usage: "serve `N` sequences at once", Category: cat},
		&cli.StringFlag{Name: "for", Usage: "plan for the machine that `TEXT` describes, such as \"M3 Pro 18GB\"", Category: cat},
	}
}

// wish reads what is expected of the model on the machine. Zero values leave the choice to the recommendation.
func wish(c *cli.Context) (recommend.Wish, error) {
	w := recommend.Wish{Context: c.Int64("context"), Prefer: c.String("prefer"), MinSpeed: c.Float64("min-speed"), Slots: c.Int64("parallel")}
	switch {
	case w.Context < 0 || w.Slots < 0 || w.MinSpeed < 0:
		return w, usagef("", "--context, --parallel and --min-speed take positive numbers")
	case w.Prefer != "quality" && w.Prefer != "balanced" && w.Prefer != "speed":
		return w, usagef("use one of quality, balanced, speed", "--prefer %q is not known", w.Prefer)
	}
	return w, nil
}

// hubClient makes the client from the environment and the options.
func hubClient(c *cli.Context) (*hfclient.Client, error) {
	return hubClientWith(c, func(*hfclient.Options) {})
}

// hubClientWith lets a command change what environment and options say.
func hubClientWith(c *cli.Context, change func(*hfclient.Options)) (*hfclient.Client, error) {
	o := hfclient.FromEnvironment(os.LookupEnv)
	o.UserAgent = "quern/" + quernVersion()
	o.Offline = o.Offline || c.Bool("offline")
	if d := c.String("cache-dir"); d != "" {
		o.CacheDir = d
	}
	if n := c.Int("connections"); n > 0 {
		o.Connections = n
	}
	if r := c.String("limit-rate"); r != "" {
		n, err := parseBytes(r)
		if err != nil {
			return nil, usagef("write bytes a second such as 500K, 20M or 1G", "--limit-rate %q is not a rate", r)
		}
		o.RateLimit = n
	}
	if c.Bool("debug") {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	change(&o)
	return hfclient.New(o)
}

// parseBytes reads 500K, 20M, 1G, 3.5GiB; K, M, G are powers of 1000 and KiB, MiB, GiB of 1024.
func parseBytes(s string) (int64, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	units := []struct {
		suffix string
		factor float64
	}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
		{"k", 1e3}, {"m", 1e6}, {"g", 1e9}, {"t", 1e12}, {"b", 1}}
	factor := 1.
	for _, u := range units {
		if strings.HasSuffix(t, u.suffix) {
			t, factor = strings.TrimSpace(strings.TrimSuffix(t, u.suffix)), u.factor
			break
		}
	}
	f, err := strconv.ParseFloat(t, 64)
	if err != nil || f <= 0 || f*factor > 1<<62 {
		return 0, fmt.Errorf("%q is not a positive number of bytes", s)
	}
	return int64(f * factor), nil
}

// newState fills what all commands that make files share.
func newState(c *cli.Context, model string) (*job.State, error) {
	s := &job.State{}
	s.Model, s.Out, s.Stream, s.DryRun = model, c.String("out"), c.Bool("stream"), c.Bool("dry-run")
	s.Args, s.Version, s.Kernel, s.Workers = os.Args[1:], quernVersion(), c.String("kernel"), c.Int("workers")
	if s.Workers < 0 {
		return nil, usagef("a number of cores; 0 means all", "--workers %d is not one", s.Workers)
	}
	s.Workers = min(s.Workers, runtime.NumCPU()) // more would hold memory and wait for one another
	if known := append([]string{"auto", job.LibraryKernel}, kernel.Names()...); s.Kernel != "" && !slices.Contains(known, s.Kernel) {
		return nil, usagef("this machine has "+strings.Join(known, ", "), "--kernel %q is not known here", s.Kernel)
	}
	var err error
	if s.Convert, err = convertOptions(c); err != nil {
		return nil, err
	}
	if s.Hub, err = hubClient(c); err != nil {
		return nil, err
	}
	s.Runtime = sync.OnceValues(func() (*llamacpp.Runtime, error) {
		rt, err := findRuntime(c)
		if err != nil {
			return nil, err
		}
		if rt.Origin == llamacpp.FromInstalled { // checked when it was installed, and by the process that runs it
			return rt, nil
		}
		_, err = rt.CheckVersion()
		return rt, err
	})
	s.Worker = workerOf(c)
	if _, err := findRuntime(c); err == nil { // without it a structural match of the pre-tokenizer stays unproven
		p := prove.New(c.Context, s.Runtime, s.Worker)
		s.Prover, s.Close = p, append(s.Close, p.Close)
	}
	adapt(c, s)
	return s, nil
}

func policyFlags() []cli.Flag {
	const cat = "Types"
	return []cli.Flag{
		&cli.StringFlag{Name: "imatrix", Usage: "importance matrix from `FILE`, GGUF or legacy; auto: compute one for the types below Q4", Category: cat},
		&cli.StringSliceFlag{Name: "include-weights", Usage: "use the matrix for tensors whose name contains `TEXT` only; may be repeated", KeepSpace: true, Category: cat},
		&cli.StringSliceFlag{Name: "exclude-weights", Usage: "do not use it for tensors whose name contains `TEXT`; may be repeated", KeepSpace: true, Category: cat},
		&cli.BoolFlag{Name: "pure", Usage: "no mixture: every tensor in the named type", Category: cat},
		&cli.BoolFlag{Name: "leave-output-tensor", Usage: "output.weight keeps its type", Category: cat},
		&cli.StringFlag{Name: "output-tensor-type", Usage: "`TYPE` of output.weight", Category: cat},
		&cli.StringFlag{Name: "token-embedding-type", Usage: "`TYPE` of token_embd.weight", Category: cat},
		&cli.StringSliceFlag{Name: "tensor-type", Usage: "`PATTERN=TYPE` for tensors whose name matches; may be repeated", KeepSpace: true, Category: cat},
		&cli.StringFlag{Name: "tensor-type-file", Usage: "`FILE` with such patterns", Category: cat},
		&cli.StringSliceFlag{Name: "override-kv", Usage: "`KEY=TYPE:VALUE` of metadata to set; may be repeated", KeepSpace: true, Category: cat},
		&cli.StringFlag{Name: "prune-layers", Usage: "`L0,L1,...` to leave out", Category: cat},
		&cli.BoolFlag{Name: "keep-split", Usage: "as many files as the source has", Category: cat},
		&cli.BoolFlag{Name: "allow-requantize", Usage: "read tensors that are quantized already; quality suffers", Category: cat},
	}
}

// policyOptions reads the options of llama-quantize: which tensor gets which type.
func policyOptions(c *cli.Context) (policy.Options, error) {
	o := policy.Options{Pure: c.Bool("pure"), LeaveOutput: c.Bool("leave-output-tensor"), KeepSplit: c.Bool("keep-split"), AllowRequantize: c.Bool("allow-requantize")}
	for _, f := range []func(*cli.Context, *policy.Options) error{fixedTypes, patternTypes, overrides, pruned} {
		if err := f(c, &o); err != nil {
			return o, err
		}
	}
	return o, nil
}

// fixedTypes are the two tensors with an option of their own.
func fixedTypes(c *cli.Context, o *policy.Options) error {
	if v := c.String("output-tensor-type"); v != "" {
		t, err := policy.ParseType("--output-tensor-type", v)
		if err != nil {
			return err
		}
		o.Output = &t
	}
	if v := c.String("token-embedding-type"); v != "" {
		t, err := policy.ParseType("--token-embedding-type", v)
		if err != nil {
			return err
		}
		o.Embedding = &t
	}
	return nil
}

// patternTypes keeps the order of the command line, with those of the file behind: the first pattern that matches a name counts.
func patternTypes(c *cli.Context, o *policy.Options) error {
	for _, v := range c.StringSlice("tensor-type") {
		t, err := policy.ParseTensorType(v)
		if err != nil {
			return err
		}
		o.Tensors = append(o.Tensors, t)
	}
	f := c.String("tensor-type-file")
	if f == "" {
		return nil
	}
	b, err := os.ReadFile(f)
	if err != nil {
		return err
	}
	ts, err := policy.ParseTensorTypes(string(b))
	o.Tensors = append(o.Tensors, ts...)
	return err
}

// overrides are metadata to be set in the file that is written.
func overrides(c *cli.Context, o *policy.Options) error {
	for _, v := range c.StringSlice("override-kv") {
		kv, err := policy.ParseOverride(v)
		if err != nil {
			return err
		}
		o.Overrides = append(o.Overrides, kv)
	}
	return nil
}

// pruned are the layers to be left out, by the numbers that they have in the source.
func pruned(c *cli.Context, o *policy.Options) error {
	v := c.String("prune-layers")
	if v == "" {
		return nil
	}
	for w := range strings.SplitSeq(v, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(w))
		if err != nil || n < 0 {
			return usagef("write layer numbers such as 3,7,11", "--prune-layers %q: %q is not a layer", v, w)
		}
		o.Prune = append(o.Prune, n)
	}
	return nil
}
