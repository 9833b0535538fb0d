//go:build !darwin

package machine

import (
	"context"
	"os"
)

// PowerNow asks the system for the conditions of this moment; nil where it does not tell.
func PowerNow(context.Context) *Power { return powerOfLinux(os.DirFS("/sys")) }
