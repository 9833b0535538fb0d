package arch

import (
	"quern/convert/config"
	"quern/convert/view"
)

// Guess is the configuration of a checkpoint without config.json, by its tensors; ok is false where no family knows it.
func Guess(tensors []view.Tensor) (c config.Object, ok bool, err error) { return pocketConfig(tensors) }
