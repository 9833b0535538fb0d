package importance

import (
	"os"
	"testing"

	"quern/quantize/llamacpp/llamatest"
)

func TestMain(m *testing.M) { os.Exit(llamatest.Main(m)) }
