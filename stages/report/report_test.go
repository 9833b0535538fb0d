package report_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/quality"
	"quern/stages/record"
	"quern/stages/report"
	"quern/stages/smoke"
)

var day = time.Date(2026, 11, 20, 9, 30, 0, 0, time.UTC)

// measured is a record of a file of the given size and quality; speeds follow from the size.
func measured(model, kind string, bytes int64, top, kld float64, chosen bool) record.Record {
	r := record.New(&machine.Machine{Chip: "Apple M3 Pro", Cores: 12, GPUCores: 18, Memory: 36 << 30})
	r.When, r.Model, r.Type, r.Bytes, r.Chosen = day, model, kind, bytes, chosen
	r.BPW, r.Commit, r.License, r.Arch = 8*float64(bytes)/8.2e9, "b968826d9c46dd6066d109eabc6255188de91218", "apache-2.0", "qwen3"
	r.SHA256, r.Path = strings.Repeat(fmt.Sprintf("%02x", bytes%251), 32), "models/"+model+"-"+kind+".gguf"
	gen := 120e9 / float64(bytes)
	r.Bench = &bench.Report{PeakRSS: bytes + 1<<30, LoadSeconds: 1.2, Conditions: &machine.Power{SpeedLimit: 100}}
	for _, d := range []int{0, 4096} {
		slow := 1 / (1 + float64(d)/20000)
		for _, t := range []struct {
			test bench.Test
			rate float64
		}{{bench.Test{Prompt: 512, Depth: d}, 380 * slow}, {bench.Test{Generate: 128, Depth: d}, gen * slow}} {
			v := t.rate
			r.Bench.Results = append(r.Bench.Results, bench.Result{Test: t.test, Name: t.test.String(), TokensPerSecond: v, Mean: v, Spread: .012, Best: v * 1.01, Samples: []float64{v * .99, v, v * 1.01}, Threads: 6})
		}
	}
	if top > 0 {
		r.Quality = &quality.Result{Path: r.Path}
		r.Quality.SameTop, r.Quality.Mean, r.Quality.P99 = top, llamacpp.Number(kld), llamacpp.Number(9*kld)
		r.Quality.Perplexity.Value = llamacpp.Number(9.7 * (1 + kld))
	}
	r.Smoke = &smoke.Report{Checks: []smoke.Check{{Name: "load", State: smoke.Passed}, {Name: "tokens", State: smoke.Passed}, {Name: "source", State: smoke.Skipped}}}
	for ctx := int64(2048); ctx <= 32768; ctx *= 2 {
		r.Needs = append(r.Needs, record.Need{Context: ctx, Memory: recommend.Memory{Weights: bytes, KV: ctx * 147456, Compute: 320 << 20}})
	}
	r.Run, r.Expected = "llama-server -m "+r.Path+" -c 8192 -np 1 -t 6 -fa on", gen*1.04
	return r
}

func records() []record.Record {
	tuned := record.New(nil)
	tuned.Model, tuned.Type, tuned.Machine = "Qwen3-8B-Q4_K_M.gguf", "tune", "Apple M3 Pro"
	tuned.Tuned = &recommend.Knobs{Batch: 2048, MicroBatch: 1024, Threads: 6, FlashAttn: "on", KV: "f16", Gain: 1.07}
	return []record.Record{
		measured("Qwen3-8B", "Q8_0", 8_709_518_624, .9912, .0014, false),
		measured("Qwen3-8B", "Q6_K", 6_725_899_552, .9843, .0049, true),
		measured("Qwen3-8B", "Q5_K_M", 5_851_112_000, .9741, .0107, false),
		measured("Qwen3-8B", "Q4_K_M", 5_027_783_000, .9563, .0282, false),
		measured("Qwen3-8B", "Q4_K_S", 4_800_000_000, .9531, .0311, false),
		measured("Qwen3-8B", "Q2_K", 3_281_733_000, .8421, .2104, false),
		tuned,
		measured("<b>acme</b>/tiny & small", "Q8_0", 8_000_000, 0, 0, false),
	}
}

func write(t *testing.T, rs []record.Record) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, rs, report.Info{Quern: "v1.0.0", When: day}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The page stands alone: nothing is fetched, nothing is run, and what came from a model's name is text.
func TestStandsAlone(t *testing.T) {
	page := write(t, records())
	for _, bad := range []string{"<script", "http://", "https://", "@import", "url(", "<b>acme", " onload="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, want := range []string{"&lt;b&gt;acme&lt;/b&gt;/tiny &amp; small", `lang="en"`, "prefers-color-scheme: dark", "@media print", "Qwen3-8B", "Apple M3 Pro, 18 GPU cores"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Every colour of the plots comes from the style sheet: what the library painted itself would stay light in dark mode.
func TestNoColoursInPlots(t *testing.T) {
	page := write(t, records())
	plots := regexp.MustCompile(`(?s)<svg class="plot.*?</svg>`).FindAllString(page, -1)
	if len(plots) != 16 { // five plots of one model and three of the other, in two widths
		t.Errorf("%d plots", len(plots))
	}
	for _, p := range plots {
		if m := regexp.MustCompile(`(rgba?\([^)]*\)|#[0-9a-f]{6})`).FindString(p); m != "" {
			t.Fatalf("painted %s: %.200s", m, p)
		}
	}
}

// What a plot shows stands in its table, and the chosen type is marked in both.
func TestTablesHoldThePlots(t *testing.T) {
	page := write(t, records())
	figures := regexp.MustCompile(`(?s)<figure>.*?</figure>`).FindAllString(page, -1)
	if len(figures) != 10 {
		t.Fatalf("%d figures", len(figures))
	}
	text := regexp.MustCompile(`class="(?:lab|lab chosen) text">([^<]+)<`)
	for _, f := range figures[:4] { // the fifth has contexts for labels
		labels := text.FindAllStringSubmatch(f, -1)
		if len(labels) != 12 {
			t.Errorf("%d labels in two plots of six types: %.300s", len(labels), f)
		}
		for _, l := range labels {
			if !strings.Contains(f, `<th scope="row">`+l[1]+`</th>`) {
				t.Errorf("%s is not in the table", l[1])
			}
		}
		if !strings.Contains(f, `class="lab chosen text">Q6_K<`) || !strings.Contains(f, `<tr class="chosen"><th scope="row">Q6_K</th>`) {
			t.Errorf("the chosen type is not marked: %.300s", f)
		}
	}
	if !strings.Contains(figures[0], "98.4 %") || !strings.Contains(figures[4], "32K") || !strings.Contains(figures[4], "4.83 GB") {
		t.Error("agreement, context or cache is missing")
	}
	if !strings.Contains(figures[5], "No quality has been measured") || strings.Contains(figures[5], "<svg") {
		t.Error("a plot of nothing, or no word about it")
	}
}

// The newest measurement of each kind counts; another file under the same type begins anew.
func TestNewestCounts(t *testing.T) {
	old := measured("acme", "Q8_0", 8_000_000, .9912, .0014, true)
	bare := measured("acme", "Q8_0", 8_000_000, 0, 0, false)
	bare.Bench, bare.Needs, bare.Smoke = nil, nil, nil
	page := write(t, []record.Record{old, bare})
	if !strings.Contains(page, "99.1 %") || !strings.Contains(page, "2 passed") {
		t.Error("a later record without measurements took those of the earlier away")
	}
	bare.SHA256 = strings.Repeat("ff", 32)
	if page = write(t, []record.Record{old, bare}); strings.Contains(page, "99.1 %") {
		t.Error("the figures of a file that is no more")
	}
}

// Several models have a table of all before them; what was only made stands in one table, not in sections of nothing.
func TestManyModels(t *testing.T) {
	page := write(t, records())
	if !strings.Contains(page, `<h1 id="overview">2 models</h1>`) || !strings.Contains(page, `<a href="#m1-qwen3-8b">Qwen3-8B</a>`) || !strings.Contains(page, `id="m1-qwen3-8b"`) {
		t.Error("no overview of the models, or its link leads nowhere")
	}
	var rs []record.Record
	for i := range 100 {
		r := record.New(nil)
		r.Model, r.Type, r.Bytes, r.When = fmt.Sprintf("acme/bare-%d", i), "Q4_K_M", 4e9, day.Add(time.Duration(i)*time.Hour)
		rs = append(rs, r)
	}
	page = write(t, append(rs, measured("acme/one", "Q8_0", 8_000_000, .99, .001, true)))
	if strings.Contains(page, `id="overview"`) || strings.Contains(page, "acme/bare-59<") || !strings.Contains(page, "acme/bare-60<") || !strings.Contains(page, "And 60 more") {
		t.Error("files without measurements: not the newest forty in one table")
	}
	if strings.Count(page, `class="model"`) != 2 {
		t.Errorf("%d sections", strings.Count(page, `class="model"`))
	}
}

// One type alone has no plot against others: the page says so and shows its figures at once.
func TestOneType(t *testing.T) {
	page := write(t, []record.Record{measured("acme/one", "Q8_0", 8_000_000, .99, .001, true)})
	figures := regexp.MustCompile(`(?s)<figure>.*?</figure>`).FindAllString(page, -1)
	for _, f := range figures[:2] {
		if strings.Contains(f, "<svg") || !strings.Contains(f, "Q8_0 is the only type that was measured") || !strings.Contains(f, "<details open>") {
			t.Errorf("%.300s", f)
		}
	}
	if !strings.Contains(figures[2], "<svg") {
		t.Error("speed of one type is not drawn")
	}
}

// A page of nothing says what makes records.
func TestEmpty(t *testing.T) {
	if page := write(t, nil); !strings.Contains(page, "Nothing is recorded yet") {
		t.Errorf("%.300s", page)
	}
}

// Figures that cannot be drawn on a scale do not break the page.
func TestOddFigures(t *testing.T) {
	for _, top := range []float64{1, .0001, .5} {
		r := measured("odd", "Q8_0", 1, top, 0, true)
		r.Bench.Results = r.Bench.Results[:2]
		r.Needs = []record.Need{{Context: 77}}
		if page := write(t, []record.Record{r}); strings.Contains(page, "NaN") || strings.Contains(page, "Inf") {
			t.Errorf("agreement %v: NaN or Inf on the page", top)
		}
	}
}

// A real browser shows the page on a desktop, in the dark and on a phone without a word on its console, without a request, and
// with nothing that axe-core objects to; the keyboard opens every table, and print shows them. `make browser` brings what is needed.
func TestBrowser(t *testing.T) {
	modules, err := filepath.Abs("../../bin/browser")
	if err != nil {
		t.Fatal(err)
	}
	chromium := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			chromium = p
			break
		}
	}
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(filepath.Join(modules, "node_modules", "axe-core")); err != nil || missing != nil || chromium == "" {
		t.Skip("the report page was not opened in a browser: Chromium, Node.js or their modules are not here (make browser)")
	}
	dir := t.TempDir()
	if keep := os.Getenv("QUERN_SCREENSHOTS"); keep != "" { // of the page that is named, for a look
		dir = keep
	}
	page := os.Getenv("QUERN_REPORT")
	if page == "" {
		page = filepath.Join(dir, "report.html")
		if err := os.WriteFile(page, []byte(write(t, records())), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(node, "testdata/browser.mjs", modules, chromium, page, dir).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		t.Log(strings.TrimSpace(line))
	}
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"desktop", "dark", "phone", "phone-dark"} {
		if fi, err := os.Stat(filepath.Join(dir, name+".png")); err != nil || fi.Size() < 20_000 {
			t.Errorf("screenshot %s: %v", name, err)
		}
	}
}
