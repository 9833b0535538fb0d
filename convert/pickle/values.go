package pickle

import (
	"fmt"
	"math/big"
)

// The values of a pickle: nil, bool, int64, *big.Int, float64, string, []byte, tuple, *list, *dict, global, *storage, *tensor, size.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ keys, values []any }
	// global is a name that the pickle asks for; only those of the table in torch.go come into being.
	global struct{ module, name string }
	mark   struct{}
)

// String is the dotted name, as Python shows it.
func (g global) String() string { return g.module + "." + g.name }

// kind names a value in a message without walking into it: it may be deep or hold itself.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case mark:
		return "a mark"
	case tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *list:
		return "a list"
	case *dict:
		return "a dictionary"
	case global:
		return v.String()
	case *storage:
		return "a storage"
	case *tensor:
		return "a tensor"
	case string:
		return fmt.Sprintf("the text %.40q", v)
	case int64, *big.Int:
		return "an integer"
	}
	return fmt.Sprintf("a %T", v)
}
