package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"quern/pipeline"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// ErrDenied is a registry that does not let this user write.
var ErrDenied = errors.New("access denied")

// RegistryError is a registry that does not take what it is sent.
type RegistryError struct {
	On     string // registry/name
	Says   string
	Status int // HTTP status; 0: none came
	Err    error
}

// Error is one line.
func (e *RegistryError) Error() string { return fmt.Sprintf("%s: %s: %v", e.On, e.Says, e.Err) }

// Unwrap gives the cause.
func (e *RegistryError) Unwrap() error { return e.Err }

// Is makes a refusal an ErrDenied.
func (e *RegistryError) Is(target error) bool { return target == ErrDenied && e.denied() }

func (e *RegistryError) denied() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden || errors.Is(e.Err, auth.ErrBasicCredentialNotFound)
}

// Hint says what to do about it.
func (e *RegistryError) Hint() string {
	host, _, _ := strings.Cut(e.On, "/")
	switch {
	case e.denied():
		return "`docker login " + host + "` keeps a password where quern reads it; may that account write to " + e.On + "?"
	case e.Status == http.StatusRequestEntityTooLarge:
		return "the registry's limit is smaller than this file; write the model in parts: --split-max-size"
	case e.Status == 0 && strings.Contains(e.Error(), "HTTP response to HTTPS"):
		return "the registry speaks no HTTPS: --plain-http"
	}
	return "run the same command again: what is there is not sent again"
}

const (
	pushTries = 5           // a blob's upload and four repetitions
	pushWait  = time.Second // before the first of them, doubled each time
	tellEvery = 100 * time.Millisecond
)

// artifact is a model as a registry keeps it.
type artifact struct {
	model    Model
	tags     []string
	blobs    []blob
	manifest []byte
	media    string // of the manifest
}

// blob is one content with its descriptor.
type blob struct {
	Asset
	ocispec.Descriptor
}

// toRegistry pushes each model under its tags: blobs that are there are skipped, a tag comes last.
func toRegistry(ctx context.Context, f *Folder, t Target, o Options, ev pipeline.Events) (*Done, error) {
	models, err := f.only(t)
	if err != nil {
		return nil, err
	}
	var all []artifact
	for _, m := range models {
		a, err := f.pack(m, o, ev)
		if err != nil {
			return nil, err
		}
		a.tags = []string{t.Tag}
		if t.Tag == "" {
			a.tags = []string{m.Receipt.Type}
			if len(models) == 1 {
				a.tags = append(a.tags, "latest")
			}
		}
		all = append(all, a)
	}
	d := &Done{URL: "oci://" + t.Name}
	p := &pusher{on: t.Name, ev: ev, done: d}
	if !o.DryRun {
		if p.repo, err = openRegistry(t.Name, o); err != nil {
			return nil, err
		}
	}
	for _, a := range all {
		if err := p.push(ctx, a); err != nil {
			return nil, err
		}
	}
	d.Run = "docker model run " + t.Name + ":" + all[len(all)-1].tags[0]
	if o.Layout == OllamaLayout {
		d.Run = strings.Replace(d.Run, "docker model", "ollama", 1)
	}
	return d, nil
}

// openRegistry uses the credentials that docker login keeps. A registry on this machine is spoken to without encryption.
func openRegistry(name string, o Options) (*remote.Repository, error) {
	repo, err := remote.NewRepository(name)
	if err != nil {
		return nil, &TargetError{"oci://" + name, err.Error()}
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{DetectDefaultNativeStore: true})
	if err != nil {
		return nil, err
	}
	c := &auth.Client{Client: &http.Client{}, Cache: auth.NewCache(), Credential: credentials.Credential(store)}
	c.SetUserAgent("quern/" + o.Version)
	repo.Client = c
	repo.PlainHTTP = o.PlainHTTP || loopback(repo.Reference.Registry)
	return repo, nil
}

func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// pusher brings artifacts to a repository; without one it says what it would bring.
type pusher struct {
	repo *remote.Repository
	on   string
	ev   pipeline.Events
	done *Done
}

func (p *pusher) push(ctx context.Context, a artifact) error {
	for _, b := range a.blobs {
		m := Move{File: b.Name, To: b.Descriptor.Digest.String(), Bytes: b.Descriptor.Size}
		if p.repo != nil {
			var err error
			if m.How, err = p.blob(ctx, b); err != nil {
				return err
			}
		}
		p.done.Moves = append(p.done.Moves, m)
	}
	desc := ocispec.Descriptor{MediaType: a.media, Digest: digest.FromBytes(a.manifest), Size: int64(len(a.manifest))}
	p.done.Version = desc.Digest.String()
	for _, tag := range a.tags {
		m := Move{File: a.model.Parts[0].Name, To: p.on + ":" + tag, Bytes: desc.Size}
		if p.repo != nil {
			m.How = "tagged"
			if err := p.repo.PushReference(ctx, desc, bytes.NewReader(a.manifest), tag); err != nil {
				return p.failed(ctx, "the manifest was not taken", err)
			}
			if got, err := p.repo.Resolve(ctx, tag); err != nil || got.Digest != desc.Digest {
				return p.failed(ctx, fmt.Sprintf("the tag %s does not lead to %s", tag, desc.Digest), errors.Join(err, fmt.Errorf("it leads to %s", got.Digest)))
			}
		}
		p.done.Moves = append(p.done.Moves, m)
	}
	if p.repo == nil || a.media != ocispec.MediaTypeImageManifest {
		return nil
	}
	return p.receipt(ctx, a, desc)
}

// blob sends one content, with patience, unless it is there.
func (p *pusher) blob(ctx context.Context, b blob) (how string, err error) {
	wait := pushWait
	for try := 1; ; try++ {
		there, err := p.repo.Blobs().Exists(ctx, b.Descriptor)
		if err == nil && there {
			if try > 1 {
				return "sent", nil // the answer was lost, the bytes were not
			}
			return "there already", nil
		}
		if err == nil {
			if err = p.send(ctx, b); err == nil {
				p.done.Sent += b.Descriptor.Size
				return "sent", nil
			}
		}
		if e := p.failed(ctx, b.Name+" was not taken", err); try == pushTries || !e.transient() {
			return "", e
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(wait):
			wait *= 2
		}
	}
}

func (p *pusher) send(ctx context.Context, b blob) error {
	var src io.ReadCloser = io.NopCloser(bytes.NewReader(b.Asset.Data))
	if b.Path != "" {
		f, err := os.Open(b.Path)
		if err != nil {
			return err
		}
		src = f
	}
	defer src.Close()
	p.ev.Emit(pipeline.Started{Stage: "upload", Says: b.Name})
	return p.repo.Blobs().Push(ctx, b.Descriptor, &told{Reader: src, ev: p.ev, name: b.Name, total: b.Descriptor.Size})
}

// told says how far a reader is.
type told struct {
	io.Reader
	ev          pipeline.Events
	name        string
	done, total int64
	last        time.Time
}

// Read implements io.Reader.
func (t *told) Read(b []byte) (int, error) {
	n, err := t.Reader.Read(b)
	t.done += int64(n)
	if time.Since(t.last) > tellEvery {
		t.last = time.Now()
		t.ev.Emit(pipeline.Progress{Stage: "upload", Item: t.name, Done: t.done, Total: t.total, Unit: "bytes"})
	}
	return n, err
}

// receipt attaches the receipt to the manifest, where any program that knows referrers finds it. A registry that knows none has
// the model all the same.
func (p *pusher) receipt(ctx context.Context, a artifact, subject ocispec.Descriptor) error {
	data, err := encoded(a.model.Receipt)
	if err != nil {
		return err
	}
	desc := ocispec.Descriptor{MediaType: "application/json", Digest: digest.FromBytes(data), Size: int64(len(data)),
		Annotations: map[string]string{ocispec.AnnotationTitle: a.model.Parts[0].Name + ".receipt.json"}}
	if _, err = p.blob(ctx, blob{Asset{Name: "receipt", Data: data}, desc}); err == nil {
		_, err = oras.PackManifest(ctx, p.repo, oras.PackManifestVersion1_1, ReceiptType, oras.PackManifestOptions{Subject: &subject, Layers: []ocispec.Descriptor{desc},
			ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: a.model.Receipt.Made.UTC().Format(time.RFC3339)}}) // the same receipt is the same manifest
	}
	if err != nil && ctx.Err() == nil {
		p.ev.Emit(pipeline.Warning{Stage: "publish", Says: "the receipt could not be attached: " + err.Error()})
		return nil
	}
	return ctx.Err()
}

// failed makes the error of a registry's answer.
func (p *pusher) failed(ctx context.Context, says string, err error) *RegistryError {
	e := &RegistryError{On: p.on, Says: says, Err: err}
	if ctx.Err() != nil {
		e.Err = ctx.Err()
	}
	var r *errcode.ErrorResponse
	if errors.As(err, &r) {
		e.Status = r.StatusCode
	}
	return e
}

// transient tells whether a later try may succeed: what a busy registry answers, and a connection that broke.
func (e *RegistryError) transient() bool {
	switch e.Status {
	case 408, 429, 500, 502, 503, 504:
		return true
	}
	var n net.Error
	return e.Status == 0 && !e.denied() && !errors.Is(e.Err, context.Canceled) && (errors.As(e.Err, &n) || errors.Is(e.Err, io.ErrUnexpectedEOF) || errors.Is(e.Err, io.EOF))
}
