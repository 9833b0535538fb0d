package machine

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Chip is a row of the table of Apple chips. One name has a row for each GPU size.
type Chip struct {
	Name       string  `json:"chip"`
	GPUFamily  int     `json:"gpu_family"`
	Generation string  `json:"generation"`
	CPU        string  `json:"cpu"` // "4P+6E"
	GPUCores   int     `json:"gpu_cores"`
	Bandwidth  int64   `json:"bandwidth_gb_s"`
	RAM        []int64 `json:"ram_gb"` // sizes sold
}

//go:embed data/chips.json
var chipsJSON []byte

//go:embed data/working-set.json
var workingSetJSON []byte

// Chips is the table of Apple chips, with its sources in data/chips.json.
var Chips = mustChips()

type workingSetRow struct {
	RAM   int64    `json:"ram_gb"`
	Older *float64 `json:"macos15_mb"` // up to macOS 15
	Newer *float64 `json:"macos26_mb"` // macOS 26 and later
}

var workingSets = mustWorkingSets()

func mustChips() []Chip {
	var t struct{ Chips []Chip }
	if err := json.Unmarshal(chipsJSON, &t); err != nil {
		panic(err) // the table is part of the program; a test reads it
	}
	return t.Chips
}

func mustWorkingSets() []workingSetRow {
	var t struct{ Rows []workingSetRow }
	if err := json.Unmarshal(workingSetJSON, &t); err != nil {
		panic(err) // as above
	}
	return t.Rows
}

// Complete fills what the machine did not tell from the tables, and notes each such field in Assumed.
func (m *Machine) Complete() {
	if !m.Apple() {
		return
	}
	if c := m.chip(); c != nil {
		if m.GPUCores == 0 {
			m.GPUCores = c.GPUCores
			m.assume("gpu_cores")
		}
		if m.GPUFamily == 0 {
			m.GPUFamily = c.GPUFamily
		}
		if m.Bandwidth == 0 {
			m.Bandwidth = c.Bandwidth
			m.assume("bandwidth_gb_s")
		}
		if len(m.Levels) == 0 {
			m.Levels = c.levels()
			m.assume("core_levels")
		}
		m.Metal = true
		m.HasTensor = m.HasTensor || c.GPUFamily >= 10
	}
	if m.Cores == 0 {
		for _, l := range m.Levels {
			m.Cores += l.Cores
		}
	}
	if m.WorkingSet == 0 && m.Memory > 0 {
		m.WorkingSet = workingSet(m.Memory, m.OSVersion)
		m.assume("working_set_bytes")
	}
	if m.WiredLimit > 0 {
		m.WorkingSet = m.WiredLimit // the user's own limit replaces the default
	}
}

// LiveWorkingSet takes what the runtime's Metal device says over the table's value. A limit that the user set is in it already.
func (m *Machine) LiveWorkingSet(bytes int64) {
	if bytes <= 0 {
		return
	}
	m.WorkingSet = bytes
	m.Assumed = slices.DeleteFunc(m.Assumed, func(f string) bool { return f == "working_set_bytes" })
}

// chip is the table's row for the machine: the one with its GPU cores, else the one with its CPU cores, else the smallest of that name.
func (m *Machine) chip() *Chip {
	var best *Chip
	for i := range Chips {
		c := &Chips[i]
		if c.Name != m.Chip {
			continue
		}
		if m.GPUCores == c.GPUCores {
			return c
		}
		if best == nil || m.GPUCores == 0 && m.Cores > 0 && c.cores() == m.Cores && best.cores() != m.Cores {
			best = c
		}
	}
	return best
}

func (c *Chip) cores() int {
	n := 0
	for _, l := range c.levels() {
		n += l.Cores
	}
	return n
}

var levelNames = map[byte]string{'S': "Super", 'P': "Performance", 'E': "Efficiency"}

func (c *Chip) levels() []Level {
	var ls []Level
	for part := range strings.SplitSeq(c.CPU, "+") {
		n, err := strconv.Atoi(part[:len(part)-1])
		if err == nil {
			ls = append(ls, Level{levelNames[part[len(part)-1]], n})
		}
	}
	return ls
}

// workingSet is Metal's recommended working set by memory size: from logs where there are any, else the rule that older
// systems follow (2/3 up to 32 GB, 3/4 above).
func workingSet(memory int64, osVersion string) int64 {
	gb := (memory + 1<<29) >> 30
	major, _ := strconv.Atoi(strings.SplitN(osVersion, ".", 2)[0])
	for _, r := range workingSets {
		if r.RAM != gb {
			continue
		}
		if r.Newer != nil && (major >= 26 || r.Older == nil) {
			return int64(*r.Newer * 1e6)
		}
		if r.Older != nil {
			return int64(*r.Older * 1e6)
		}
	}
	if gb <= 32 {
		return memory / 3 * 2
	}
	return memory / 4 * 3
}

// Holding is the smallest memory size, in GB as they are sold, with which a Mac of the table has at least that working set; 0: none.
func Holding(workingSetBytes int64) int64 {
	least := int64(0)
	for _, m := range All() {
		if gb := m.Memory >> 30; m.WorkingSet >= workingSetBytes && (least == 0 || gb < least) {
			least = gb
		}
	}
	return least
}

// UnknownMachineError says that a machine's description is not understood.
type UnknownMachineError struct{ Text, Says string }

// Error names the text and what is wrong with it.
func (e *UnknownMachineError) Error() string { return fmt.Sprintf("machine %q: %s", e.Text, e.Says) }

// Hint shows the form.
func (e *UnknownMachineError) Hint() string {
	return `write chip and memory, such as "M3 Pro 18GB" or "M4 Max 40-core 64GB"; ` + "`quern machine --list` shows the chips"
}

var (
	memoryWord = regexp.MustCompile(`(?i)(\d+) ?(GB|GiB|G)\b`)
	gpuWord    = regexp.MustCompile(`(?i)(\d+)[- ]?(?:gpu[- ]?)?cores?\b`)
)

// For makes the machine that text describes: "M3 Pro 18GB", "Apple M4 Max 40-core 64 GB".
// Without a memory size it has the smallest that is sold, and says so in Assumed.
func For(text string) (*Machine, error) {
	m := &Machine{OS: "macos", Arch: "arm64"}
	rest := text
	take := func(re *regexp.Regexp) int64 {
		f := re.FindStringSubmatch(rest)
		if f == nil {
			return 0
		}
		rest = strings.Replace(rest, f[0], " ", 1)
		n, _ := strconv.ParseInt(f[1], 10, 32)
		return n
	}
	m.Memory = take(memoryWord) << 30
	m.GPUCores = int(take(gpuWord))
	name := "apple"
	for _, w := range strings.Fields(strings.ToLower(strings.NewReplacer(",", " ", "(", " ", ")", " ").Replace(rest))) {
		if w != "apple" {
			name += " " + w
		}
	}
	for _, c := range Chips {
		if strings.ToLower(c.Name) != name || m.GPUCores != 0 && m.GPUCores != c.GPUCores {
			continue
		}
		m.Chip = c.Name
		if m.Memory == 0 {
			m.Memory = c.RAM[0] << 30
			m.assume("memory_bytes")
		}
		m.Complete()
		m.Available = m.Memory
		return m, nil
	}
	return nil, &UnknownMachineError{text, "no such chip is in the table"}
}

// All is every Mac of the table: each chip with each memory size that it is sold with.
func All() []*Machine {
	var all []*Machine
	for _, c := range Chips {
		for _, gb := range c.RAM {
			m := &Machine{OS: "macos", Arch: "arm64", Chip: c.Name, GPUCores: c.GPUCores, Memory: gb << 30, Available: gb << 30}
			m.Complete()
			all = append(all, m)
		}
	}
	return all
}
