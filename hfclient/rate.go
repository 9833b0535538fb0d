package hfclient

import (
	"context"
	"sync"
	"time"
)

// rateLimit spreads bytes over time: each reader waits for the moment at which its bytes are due.
type rateLimit struct {
	perSecond int64 // 0: no limit
	mu        sync.Mutex
	due       time.Time
}

// wait lets n bytes pass.
func (l *rateLimit) wait(ctx context.Context, n int) error {
	if l.perSecond <= 0 {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if l.due.Before(now) {
		l.due = now
	}
	delay := l.due.Sub(now)
	l.due = l.due.Add(time.Duration(float64(n) / float64(l.perSecond) * float64(time.Second)))
	l.mu.Unlock()
	if delay <= 0 {
		return nil
	}
	return sleep(ctx, delay)
}

// chunk is how much of a buffer to read at once, so that a low limit does not come in bursts.
func (l *rateLimit) chunk(buf []byte) []byte {
	if l.perSecond <= 0 {
		return buf
	}
	return buf[:min(int64(len(buf)), max(l.perSecond/10, 1024))]
}
