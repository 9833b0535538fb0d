package config

import "errors"

func auto(raw Object, dir string) (Object, error) { return nil, errors.New("not yet") }
