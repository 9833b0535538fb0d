package machine

import "context"

// PowerNow asks the system for the conditions of this moment; nil where it does not tell.
func PowerNow(ctx context.Context) *Power {
	var m Machine
	if !m.askPower(ctx) {
		return nil
	}
	return &Power{OnBattery: m.OnBattery, LowPower: m.LowPower, SpeedLimit: m.SpeedLimit}
}
