package record_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"quern/stages/record"
)

// pad makes a record longer than a page, so that a line that is not written at once would show.
var pad = strings.Repeat("x", 9000)

// home gives the test a record file of its own.
func home(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv("HOME", os.Getenv("XDG_DATA_HOME"))
}

func writer(t *testing.T, n int) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", writerEnv, n))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Fifty processes that write at once lose no record and mix no line.
func TestFiftyWriters(t *testing.T) {
	home(t)
	const writers, each = 50, 3
	var cmds []*exec.Cmd
	for range writers {
		cmds = append(cmds, writer(t, each))
	}
	for _, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	rs, damaged, err := record.List()
	if err != nil || damaged != 0 || len(rs) != writers*each {
		t.Fatalf("%d records, %d damaged lines, %v", len(rs), damaged, err)
	}
	seen, ids := map[string]bool{}, map[string]bool{}
	for _, r := range rs {
		seen[r.Model], ids[r.ID] = true, true
		if r.Path != pad {
			t.Fatalf("%s: a path of %d bytes", r.Model, len(r.Path))
		}
	}
	if len(seen) != writers*each || len(ids) != len(rs) {
		t.Errorf("%d different records with %d ids", len(seen), len(ids))
	}
	t.Logf("count: records: %d of %d by %d processes at once", len(seen), writers*each, writers)
}

// A writer that is killed loses at most the line that it was writing; those after it are whole.
func TestKilledWriter(t *testing.T) {
	home(t)
	const kills = 6
	before := 0
	for i := range kills {
		cmd := writer(t, -1)
		time.Sleep(time.Duration(20+15*i) * time.Millisecond) // wherever it is by then
		cmd.Process.Kill()
		cmd.Wait() //nolint:errcheck // a signal's end is what is wanted
		last := record.New(nil)
		last.Model = "after a kill"
		if err := record.Append(last); err != nil {
			t.Fatal(err)
		}
		rs, damaged, err := record.List()
		if err != nil || damaged > i+1 {
			t.Fatalf("after %d kills: %d damaged lines, %v", i+1, damaged, err)
		}
		if len(rs) <= before || rs[len(rs)-1].Model != "after a kill" {
			t.Fatalf("after %d kills: %d records, %d before", i+1, len(rs), before)
		}
		before = len(rs)
	}
	t.Logf("count: records: %d kept through %d kills", before, kills)
}

// A line that a crash of the machine cut short is counted and passed over, wherever the cut is.
func TestCutLine(t *testing.T) {
	for _, cut := range []int{1, 40, 9000, 9300} {
		home(t)
		r := record.New(nil)
		r.Model, r.Path = "first", pad
		if err := record.Append(r); err != nil {
			t.Fatal(err)
		}
		fi, err := os.Stat(record.Path())
		if err != nil {
			t.Fatal(err)
		}
		at := min(int64(cut), fi.Size()-1)
		if err := os.Truncate(record.Path(), at); err != nil {
			t.Fatal(err)
		}
		whole := at == fi.Size()-1 // only the end of the line is missing
		r.Model = "second"
		if err := record.Append(r); err != nil {
			t.Fatal(err)
		}
		rs, damaged, err := record.List()
		if err != nil || rs[len(rs)-1].Model != "second" || !whole && (damaged != 1 || len(rs) != 1) {
			t.Errorf("cut at %d: %d records, %d damaged, %v", cut, len(rs), damaged, err)
		}
	}
}

// Lines of a newer form are passed over, not misread.
func TestNewerRecord(t *testing.T) {
	home(t)
	if err := record.Append(record.New(nil)); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(record.Path(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(f, "{\"record_version\":%d,\"model\":\"from the future\"}\n", record.RecordVersion+1)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	rs, damaged, err := record.List()
	if err != nil || len(rs) != 1 || damaged != 1 {
		t.Errorf("%d records, %d passed over, %v", len(rs), damaged, err)
	}
}
