// Package stages lists what quern does to a model, in order. It is the contents page: each stage is a folder of its own.
package stages

import (
	"quern/pipeline"
	"quern/stages/bench"
	"quern/stages/build"
	"quern/stages/importance"
	"quern/stages/job"
	"quern/stages/judge"
	"quern/stages/plan"
	"quern/stages/pull"
	"quern/stages/record"
	"quern/stages/rival"
	"quern/stages/smoke"
)

// Prepare is the whole job: from a MODEL argument to files that are proven, measured and written down.
var Prepare = []pipeline.Stage[job.State]{
	plan.Stage{},       // read headers, choose the type, check that it fits
	pull.Stage{},       // fetch one pinned revision, verified
	importance.Stage{}, // compute an imatrix where one is asked for and worth it
	build.Stage{},      // convert and quantize in one pass
	smoke.Stage{},      // load it, generate, look for known failures
	bench.Stage{},      // prompt and generation speed
	judge.Stage{},      // agreement with the source precision
	record.Stage{},     // receipt, speed record, how to run it
}

// Convert and Quantize make files as named, without recommendation or trial.
var (
	Convert  = []pipeline.Stage[job.State]{plan.Stage{}, pull.Stage{}, build.Stage{}, record.Stage{}}
	Quantize = []pipeline.Stage[job.State]{plan.Stage{}, pull.Stage{}, importance.Stage{}, build.Stage{}, record.Stage{}}
)

// Mixture is Quantize for a budget: the result is held against the named type that is next smaller.
var Mixture = []pipeline.Stage[job.State]{plan.Stage{}, pull.Stage{}, importance.Stage{}, build.Stage{}, rival.Stage{}, record.Stage{}}

// Adapter makes a LoRA file and tries it on a file of its base.
var Adapter = []pipeline.Stage[job.State]{plan.Stage{}, pull.Stage{}, build.Stage{}, smoke.Stage{}, record.Stage{}}

// Build makes files and stops there: what `verify --rebuild` compares.
var Build = []pipeline.Stage[job.State]{plan.Stage{}, pull.Stage{}, importance.Stage{}, build.Stage{}}

// Plan is everything that Prepare would decide.
var Plan = []pipeline.Stage[job.State]{plan.Stage{Only: true}}

// Copy writes files that were planned from other files: parts, a merged model, edited metadata.
var Copy = []pipeline.Stage[job.State]{build.Stage{}}
