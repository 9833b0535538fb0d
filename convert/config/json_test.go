package config

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"quern/convert/fault"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		`1`:                          "int64 1",
		`-0`:                         "int64 0",
		`1.0`:                        "float64 1.0",
		`1e3`:                        "float64 1000.0",
		`1E400`:                      `float64 "inf"`,
		`-Infinity`:                  `float64 "-inf"`,
		`NaN`:                        `float64 "nan"`,
		`9223372036854775807`:        "int64 9223372036854775807",
		`9223372036854775808`:        "*big.Int 9223372036854775808",
		`{"a": 1, "b": 2, "a": 3}`:   `config.Object {"a":3,"b":2}`,
		` [ 1 , "x\u00e9\n" ,null] `: `[]interface {} [1,"xé\n",null]`,
		`"\ud83d\ude00"`:             `string "😀"`,
		`"\ud83d"`:                   "string \"\ufffd\"",
		`"\ud83d\u0041"`:             "string \"\ufffdA\"",
		`1e-05`:                      "float64 1e-05",
		`1e22`:                       "float64 1e+22",
		`123456789012345680.0`:       "float64 1.2345678901234568e+17",
		`1000000.0`:                  "float64 1000000.0",
	} {
		v, err := Parse("x.json", []byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := typeOf(v) + " " + text(v); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func typeOf(v any) string {
	switch v.(type) {
	case int64:
		return "int64"
	case float64:
		return "float64"
	case *big.Int:
		return "*big.Int"
	case string:
		return "string"
	case Object:
		return "config.Object"
	case []any:
		return "[]interface {}"
	}
	return "?"
}

// Every refusal names file, line and column.
func TestParseRefusals(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "x.json:1:1: not JSON: a value is missing",
		"{\n \"a\": }":                 "x.json:2:7: not JSON: a value is missing",
		"{\"a\" 1}":                    "x.json:1:6: not JSON: a colon is missing",
		"[1 2]":                        "x.json:1:4: not JSON: a comma or ] is missing",
		"{} x":                         "x.json:1:4: not JSON: text after the value",
		"01":                           "x.json:1:1: not JSON: a value is missing",
		"1.":                           "x.json:1:3: not JSON: a digit is missing after the point",
		"1e":                           "x.json:1:3: not JSON: a digit is missing in the exponent",
		"\"a\tb\"":                     "x.json:1:3: not JSON: a control character in a string",
		`"\x"`:                         "x.json:1:3: not JSON: an unknown escape in a string",
		`"\u12"`:                       "x.json:1:3: not JSON: four hexadecimal digits are missing",
		`"abc`:                         "x.json:1:5: not JSON: a string without end",
		"\"\xff\"":                     "x.json:1:2: not JSON: not UTF-8",
		"\ufeff{}":                     "x.json:1:1: not JSON: a value is missing",
		"{a:1}":                        "x.json:1:2: not JSON: a key in double quotes is missing",
		strings.Repeat("[", 1<<20):     "nested deeper than 900",
		strings.Repeat("9", 5000):      "an integer of 5000 digits, at most 4300 are read",
		strings.Repeat("{\"a\":", 2e5): "nested deeper than 900",
	} {
		_, err := Parse("x.json", []byte(in))
		var bad *fault.Invalid
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %s", in, err, want)
		}
	}
}

// What is written reads back to the same values, and writing again changes nothing.
func TestCanonical(t *testing.T) {
	v, err := Parse("x", []byte(`{"z": 1.0, "a": [1, 1e-7, 123456789012345678901234567890, "<&>\u2028"], "m": {}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"a":[1,1e-07,123456789012345678901234567890,"<&>\u2028"],"m":{},"z":1.0}`
	got, _ := v.(Object).MarshalJSON()
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	again, err := Parse("x", got)
	if err != nil || text(again) != want {
		t.Errorf("read back: %s, %v", text(again), err)
	}
}

func TestArithmetic(t *testing.T) {
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	for _, c := range []struct {
		op   operation
		a, b any
		want string
	}{
		{div, int64(7), int64(2), "3"}, {div, int64(-7), int64(2), "-4"}, {mod, int64(-7), int64(2), "1"}, {mod, int64(7), int64(-2), "-1"},
		{div, 7.0, int64(2), "3.0"}, {div, int64(1), 0.1, "9.0"}, {mod, -7.5, 2.0, "0.5"}, {div, int64(math.MinInt64), int64(-1), "9223372036854775808"},
		{times, int64(math.MaxInt64), int64(2), "18446744073709551614"}, {div, huge, huge, "1"}, {plus, true, int64(1), "2"},
		{minus, int64(1), 0.5, "0.5"}, {div, int64(1), int64(0), "fails"}, {mod, 1.0, 0.0, "fails"}, {plus, "a", int64(1), "fails"}, {times, nil, int64(1), "fails"},
	} {
		v, err := c.op.of(c.a, c.b)
		got := text(v)
		if err != nil {
			got = "fails"
		}
		if got != c.want {
			t.Errorf("%v, %v: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}
