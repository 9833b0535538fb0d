package publish

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"quern/pipeline"
	"quern/stages/plan"

	"github.com/gowebpki/jcs"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layout is whose media types an artifact has: no program reads those of another.
type Layout string

// The layouts.
const (
	DockerLayout Layout = "docker" // Docker Model Runner, and llama.cpp's own -dr
	OllamaLayout Layout = "ollama"
)

// ReceiptType is the artifact type of a receipt that is attached to a model.
const ReceiptType = "application/vnd.quern.receipt.v1+json"

// Media types. Sources: docker/model-spec spec.md and model-runner's pkg/distribution/types; Ollama's server package.
const (
	dockerConfig  = "application/vnd.docker.ai.model.config.v0.1+json"
	dockerModel   = "application/vnd.docker.ai.gguf.v3"
	dockerMmproj  = "application/vnd.docker.ai.mmproj"
	dockerLicence = "application/vnd.docker.ai.license"
	dockerPath    = "org.cncf.model.filepath"

	ollamaManifest = "application/vnd.docker.distribution.manifest.v2+json"
	ollamaConfig   = "application/vnd.docker.container.image.v1+json"
	ollamaModel    = "application/vnd.ollama.image.model"
	ollamaMmproj   = "application/vnd.ollama.image.projector"
	ollamaTemplate = "application/vnd.ollama.image.template"
	ollamaLicence  = "application/vnd.ollama.image.license"
	ollamaParams   = "application/vnd.ollama.image.params"
)

// pack makes the artifact of a model. It depends on the files and their receipt alone: the same model is the same digest.
func (f *Folder) pack(m Model, o Options, ev pipeline.Events) (artifact, error) {
	if o.Layout == OllamaLayout {
		return f.packOllama(m, o, ev)
	}
	a := artifact{model: m, media: ocispec.MediaTypeImageManifest}
	var diffs []string
	add := func(as Asset, media string) {
		b := layer(as, media)
		b.Annotations = map[string]string{dockerPath: as.Name, ocispec.AnnotationTitle: as.Name}
		a.blobs, diffs = append(a.blobs, b), append(diffs, b.Descriptor.Digest.String())
	}
	for _, p := range m.Parts { // in their order, which is that of the parts' numbers
		add(p, dockerModel)
	}
	for _, p := range m.Projector {
		add(p, dockerMmproj)
	}
	for _, p := range f.licenceTexts() {
		add(p, dockerLicence)
	}
	about := map[string]string{}
	for _, kv := range m.Header.Metadata {
		if s, ok := kv.Value.(string); ok && strings.HasPrefix(kv.Key, "general.") {
			about[kv.Key] = s
		}
	}
	config := map[string]any{
		"config": map[string]any{"format": "gguf", "quantization": m.Receipt.Type, "parameters": plan.Count(m.Weights), "architecture": m.Receipt.Arch,
			"size": plan.Size(m.size()), "gguf": about},
		"descriptor": map[string]any{"created": m.Receipt.Made.UTC().Format(time.RFC3339)},
		"rootfs":     map[string]any{"type": "rootfs", "diff_ids": diffs},
	}
	return a, a.seal(config, dockerConfig, f.annotations(m))
}

// packOllama is the same model for Ollama: it reads whole files, a Go template and parameters from layers of their own.
func (f *Folder) packOllama(m Model, o Options, ev pipeline.Events) (artifact, error) {
	a := artifact{model: m, media: ollamaManifest}
	if len(m.Parts) > 1 {
		return a, &TargetError{string(OllamaLayout), m.Parts[0].Name + " is in parts, and Ollama takes whole files: `quern merge` makes one"}
	}
	a.blobs = append(a.blobs, layer(m.Parts[0], ollamaModel))
	for _, p := range m.Projector {
		a.blobs = append(a.blobs, layer(p, ollamaMmproj))
	}
	if o.Template != nil {
		a.blobs = append(a.blobs, inMemory("template", o.Template, ollamaTemplate))
	} else if m.Text("tokenizer.chat_template") != "" {
		ev.Emit(pipeline.Warning{Stage: "publish", Says: "Ollama takes its chat template from a layer in a language of its own, and there is none: it will complete texts and not hold a chat",
			Next: "--template FILE gives it; `ollama show --template NAME` prints that of a model of the family"})
	}
	licences := f.licenceTexts()
	if len(licences) == 0 && f.Licence.ID != "" {
		licences = []Asset{{Name: "licence", Data: []byte(strings.TrimSpace(f.Licence.String()+"\n"+f.Licence.Link) + "\n")}}
	}
	for _, l := range licences {
		a.blobs = append(a.blobs, inMemory(l.Name, l.Data, ollamaLicence))
	}
	if set := m.Receipt.Setting; set != nil {
		params, err := json.Marshal(map[string]any{"num_ctx": set.Context, "num_batch": set.MicroBatch})
		if err != nil {
			return a, err
		}
		a.blobs = append(a.blobs, inMemory("params", params, ollamaParams))
	}
	var diffs []string
	for _, b := range a.blobs {
		diffs = append(diffs, b.Descriptor.Digest.String())
	}
	config := map[string]any{"model_format": "gguf", "model_family": m.Receipt.Arch, "model_families": []string{m.Receipt.Arch},
		"model_type": plan.Count(m.Weights), "file_type": m.Receipt.Type, "architecture": "amd64", "os": "linux", // the two are the same for all models there
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs}}
	return a, a.seal(config, ollamaConfig, nil)
}

// seal adds the configuration and writes the manifest.
func (a *artifact) seal(config any, media string, annotations map[string]string) error {
	data, err := encoded(config)
	if err != nil {
		return err
	}
	c := inMemory("config", data, media)
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: a.media, Config: c.Descriptor, Annotations: annotations}
	for _, b := range a.blobs {
		m.Layers = append(m.Layers, b.Descriptor)
	}
	a.blobs = append(a.blobs, c)
	a.manifest, err = json.Marshal(m)
	return err
}

// encoded is canonical JSON: a digest depends on it.
func encoded(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

func layer(a Asset, media string) blob {
	return blob{a, ocispec.Descriptor{MediaType: media, Digest: digest.NewDigestFromEncoded(digest.SHA256, a.SHA256), Size: a.Size}}
}

func inMemory(name string, data []byte, media string) blob {
	return blob{Asset{Name: name, Data: data}, ocispec.Descriptor{MediaType: media, Digest: digest.FromBytes(data), Size: int64(len(data))}}
}

// licenceTexts are the texts in the folder that have to go with the model.
func (f *Folder) licenceTexts() []Asset {
	return slices.DeleteFunc(slices.Clone(f.Files), func(a Asset) bool {
		return !strings.HasPrefix(a.Name, "LICEN") && !strings.HasPrefix(a.Name, "NOTICE") && !strings.HasPrefix(a.Name, "USE_POLICY")
	})
}

// annotations say where the model comes from.
func (f *Folder) annotations(m Model) map[string]string {
	a := map[string]string{ocispec.AnnotationTitle: f.name(), ocispec.AnnotationVersion: m.Receipt.Type, ocispec.AnnotationCreated: m.Receipt.Made.UTC().Format(time.RFC3339)}
	if f.Licence.ID != "" {
		a[ocispec.AnnotationLicenses] = f.Licence.String()
	}
	if f.Source.Repo != "" {
		a[ocispec.AnnotationSource], a[ocispec.AnnotationRevision] = "https://huggingface.co/"+f.Source.Repo, f.Source.Commit
	}
	return a
}
