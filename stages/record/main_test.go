package record_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"quern/stages/record"
)

// writerEnv makes the test binary a writer of that many records; a negative number writes until it is killed.
const writerEnv = "QUERN_TEST_RECORDS"

func TestMain(m *testing.M) {
	n, err := strconv.Atoi(os.Getenv(writerEnv))
	if err != nil {
		os.Exit(m.Run())
	}
	for i := 0; n < 0 || i < n; i++ {
		r := record.New(nil)
		r.Model = fmt.Sprintf("writer %d record %d", os.Getpid(), i)
		r.Path = pad
		if err := record.Append(r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}
