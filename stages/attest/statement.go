// Package attest says to other programs what a receipt says: as an in-toto statement with SLSA provenance, and, signed with a key
// that never leaves this machine, as a Sigstore bundle.
//
// The formats are those of their own libraries; here stands only what of a receipt goes where.
package attest

import (
	"fmt"
	"strings"

	"quern/convert/fault"
	"quern/stages/record"

	"github.com/gowebpki/jcs"
	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The names by which a verifier knows what kind of build this is and who made it. Tag URIs (RFC 4151) need no server.
const (
	BuildType = "tag:quern,2026:build/v1"
	BuilderID = "tag:quern,2026:builder/local"
)

// predicateType is what SLSA calls its provenance; verifiers choose by it.
const predicateType = "https://slsa.dev/provenance/v1"

// Statement is the provenance of a receipt's files, in canonical JSON (RFC 8785). The receipt itself is named by its digest.
func Statement(r *record.Receipt, receiptName, receiptDigest string) ([]byte, error) {
	p, err := predicate(r, receiptName, receiptDigest)
	if err != nil {
		return nil, err
	}
	s := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: predicateType, Predicate: p}
	for _, o := range r.Outputs {
		s.Subject = append(s.Subject, &intoto.ResourceDescriptor{Name: o.Name, Digest: digests(o.Digest)})
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("provenance of %s: %w", receiptName, err)
	}
	b, err := protojson.Marshal(s)
	if err != nil {
		return nil, err
	}
	return jcs.Transform(b)
}

// predicate is SLSA's provenance: what was asked for, from what, by what.
func predicate(r *record.Receipt, receiptName, receiptDigest string) (*structpb.Struct, error) {
	external, err := structpb.NewStruct(map[string]any{"arguments": list(r.Arguments), "model": r.Source.Model, "type": r.Type})
	if err != nil {
		return nil, err
	}
	internal, err := structpb.NewStruct(map[string]any{"kernel": r.Kernel, "platform": r.Platform, "architecture": r.Arch})
	if err != nil {
		return nil, err
	}
	p := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{BuildType: BuildType, ExternalParameters: external, InternalParameters: internal},
		RunDetails: &provenance.RunDetails{
			Builder:    &provenance.Builder{Id: BuilderID, Version: map[string]string{"quern": r.Quern, "llama.cpp": r.LlamaCpp}},
			Metadata:   &provenance.BuildMetadata{FinishedOn: timestamppb.New(r.Made)},
			Byproducts: []*intoto.ResourceDescriptor{{Name: receiptName, Digest: digests(receiptDigest)}},
		},
	}
	for _, f := range r.Source.Files {
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, dependency(r, f))
	}
	if m := r.Imatrix; m != nil { // it decides bytes as much as the weights do
		p.BuildDefinition.ResolvedDependencies = append(p.BuildDefinition.ResolvedDependencies, &intoto.ResourceDescriptor{Name: m.File, Digest: digests(m.Digest)})
	}
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("provenance of %s: %w", receiptName, err)
	}
	b, err := protojson.Marshal(p)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, protojson.Unmarshal(b, s)
}

// dependency is a file of the source. One of the Hub is named by its package URL, pinned to the commit.
func dependency(r *record.Receipt, f record.FileDigest) *intoto.ResourceDescriptor {
	d := &intoto.ResourceDescriptor{Name: f.Name, Digest: digests(f.Digest)}
	if r.Source.Repo != "" && r.Source.Commit != "" {
		d.Uri = "pkg:huggingface/" + r.Source.Repo + "@" + r.Source.Commit + "#" + f.Name
	}
	return d
}

// digests turns "sha256:..." and "git-sha1:..." into in-toto's sets: the second is a git object's name there.
func digests(d string) map[string]string {
	algorithm, hex, _ := strings.Cut(d, ":")
	if algorithm == "git-sha1" {
		algorithm = "gitBlob"
	}
	return map[string]string{algorithm: hex}
}

// list is what structpb takes for a list of texts.
func list(words []string) []any {
	l := make([]any, len(words))
	for i, w := range words {
		l[i] = w
	}
	return l
}

// Covers checks that a statement is about exactly the files that a receipt names.
func Covers(statement []byte, r *record.Receipt) error {
	var s intoto.Statement
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(statement, &s); err != nil {
		return &fault.Invalid{On: "statement", Says: "not an in-toto statement", Err: err}
	}
	if err := s.Validate(); err != nil {
		return &fault.Invalid{On: "statement", Says: err.Error()}
	}
	have := map[string]string{}
	for _, sub := range s.Subject {
		have[sub.Name] = "sha256:" + sub.Digest["sha256"]
	}
	for _, o := range r.Outputs {
		if have[o.Name] != o.Digest {
			return &fault.Invalid{On: o.Name, Says: fmt.Sprintf("the signed statement gives digest %q, the receipt %s", have[o.Name], o.Digest)}
		}
	}
	if len(have) != len(r.Outputs) {
		return &fault.Invalid{On: "statement", Says: fmt.Sprintf("it is about %d files, the receipt about %d", len(have), len(r.Outputs))}
	}
	return nil
}
