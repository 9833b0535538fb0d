module quern

go 1.26.8

require (
	github.com/dlclark/regexp2/v2 v2.13.0 // look-around and possessive splitters of tokenizers
	github.com/ebitengine/purego v0.11.2 // C functions without cgo
	github.com/go-analyze/charts v0.6.4 // plots of reports
	github.com/gofrs/flock v0.13.2 // locks shared with the Hub's Python client
	github.com/google/renameio/v2 v2.0.2 // small files appear whole or not at all
	github.com/gowebpki/jcs v1.0.2 // canonical JSON of receipts
	github.com/in-toto/attestation v1.2.0 // statements and provenance for other programs
	github.com/klauspost/compress v1.20.4 // zstd of the built-in model and of test data
	github.com/schollz/progressbar/v3 v3.19.1 // bars on standard error
	github.com/secure-systems-lab/go-securesystemslib v0.11.1 // signed envelopes
	github.com/shirou/gopsutil/v4 v4.26.10 // memory, disk and processor on every system
	github.com/sigstore/protobuf-specs v0.5.2 // bundles
	github.com/urfave/cli/v2 v2.27.7 // command line
	github.com/x448/float16 v0.8.4 // half precision
	github.com/xrash/smetrics v0.0.0-20250705151800-55b8f293f342 // the nearest known name in hints
	go.yaml.in/yaml/v4 v4.0.0 // front matter of model cards
	golang.org/x/perf v0.0.0-20260908200009-22c9c6c9d4da // significance of differences between benchmarks
	golang.org/x/sync v0.25.0 // groups of goroutines
	golang.org/x/sys v0.50.0 // preallocation, locks, limits
	golang.org/x/term v0.48.0 // is it a terminal
	golang.org/x/text v0.44.0 // Unicode normal forms
	google.golang.org/protobuf v1.36.12 // wire format of SentencePiece models
)

// tests
require (
	github.com/cockroachdb/datadriven v1.0.3
	github.com/google/go-cmp v0.7.0
	github.com/invopop/jsonschema v0.14.0 // schemas from types
	github.com/rogpeppe/go-internal v1.16.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
)

require (
	github.com/nats-io/nats-server/v2 v2.15.2 // a queue of one's own
	github.com/nats-io/nats.go v1.55.0 // work for many machines
)

require github.com/nats-io/nkeys v0.4.16 // tests: keys of users

require (
	github.com/opencontainers/go-digest v1.0.0 // the registries' digests
	github.com/opencontainers/image-spec v1.1.1 // and manifests
	oras.land/oras-go/v2 v2.7.0 // pushing to them
)

require github.com/google/go-containerregistry v0.22.1 // tests: a registry

require (
	github.com/aclements/go-moremath v0.0.0-20210112150236-f10218a38794 // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/bahlo/generic-list-go v0.2.0 // indirect
	github.com/buger/jsonparser v1.1.2 // indirect
	github.com/cpuguy83/go-md2man/v2 v2.0.7 // indirect
	github.com/go-ole/go-ole v1.2.6 // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/lufia/plan9stats v0.0.0-20211012122336-39d0f177ccd0 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/pb33f/ordered-map/v2 v2.3.1 // indirect
	github.com/pmezard/go-difflib v1.0.1-0.20181226105442-5d4384ee4fb2 // indirect
	github.com/power-devops/perfstat v0.0.0-20260805114148-88456608a4f6 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/tklauser/go-sysconf v0.4.0 // indirect
	github.com/tklauser/numcpus v0.12.0 // indirect
	github.com/yusufpapurcu/wmi v1.2.4 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/image v0.46.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	golang.org/x/tools v0.52.0 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20260203192932-546029d2fa20 // indirect
)
