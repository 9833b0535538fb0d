package gguf

// Lookup is the value of a metadata key. Plans have some hundred keys: a walk is fast enough and cannot go stale.
func (p *Plan) Lookup(key string) (any, bool) {
	for i := range p.Metadata {
		if p.Metadata[i].Key == key {
			return p.Metadata[i].Value, true
		}
	}
	return nil, false
}

// Int is the value of a key of any integer kind, or of a bool (0 and 1), that fits int64.
func (p *Plan) Int(key string) (int64, bool) {
	v, _ := p.Lookup(key)
	return Integer(v)
}

// Uint is the value of a key of any integer kind, or of a bool (0 and 1), that is not negative.
func (p *Plan) Uint(key string) (uint64, bool) {
	v, _ := p.Lookup(key)
	if u, ok := v.(uint64); ok {
		return u, true
	}
	n, ok := Integer(v)
	return uint64(n), ok && n >= 0
}

// Float is the value of a key of kind f32 or f64.
func (p *Plan) Float(key string) (float64, bool) {
	v, _ := p.Lookup(key)
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// String is the value of a key of kind string.
func (p *Plan) String(key string) (string, bool) {
	v, _ := p.Lookup(key)
	s, ok := v.(string)
	return s, ok
}

// Bool is the value of a key of kind bool.
func (p *Plan) Bool(key string) (value, ok bool) {
	v, _ := p.Lookup(key)
	value, ok = v.(bool)
	return value, ok
}

// Strings is the value of a key that holds an array of strings. The slice is the plan's own.
func (p *Plan) Strings(key string) ([]string, bool) {
	v, _ := p.Lookup(key)
	s, ok := v.([]string)
	return s, ok
}

// Floats is the value of a key that holds an array of f32. The slice is the plan's own.
func (p *Plan) Floats(key string) ([]float32, bool) {
	v, _ := p.Lookup(key)
	s, ok := v.([]float32)
	return s, ok
}

// Ints is the value of a key that holds an array of any integer kind or of bools (0 and 1), as int64.
// It is false when an element does not fit.
func (p *Plan) Ints(key string) ([]int64, bool) {
	v, _ := p.Lookup(key)
	elem, n, ok := arrayKind(v)
	if !ok || elem == String || elem == Array || elem == Float32 || elem == Float64 {
		return nil, false
	}
	out := make([]int64, n)
	for i := range out {
		if out[i], ok = Integer(elementAt(v, i)); !ok {
			return nil, false
		}
	}
	return out, true
}

// Tensor finds an output by its name.
func (p *Plan) Tensor(name string) (Output, bool) {
	for i := range p.Outputs {
		if p.Outputs[i].Name == name {
			return p.Outputs[i], true
		}
	}
	return Output{}, false
}

// Architecture is the value of general.architecture, empty without it.
func (p *Plan) Architecture() string {
	s, _ := p.String("general.architecture")
	return s
}

// Integer is any integer kind of a value, false where int64 does not hold it. Writers disagree on kinds (u32 here, i32 or u64 there), so lookups must not insist on one.
func Integer(v any) (int64, bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= 1<<63-1
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
