package webhook

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hold{most: time.Minute}
		begin := time.Now()
		waited := func() time.Duration {
			if err := h.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			return time.Since(begin)
		}
		if d := waited(); d != 0 {
			t.Errorf("waited %s for nothing", d)
		}
		if _, news := h.tell(10 * time.Second); !news {
			t.Error("the first word is no news")
		}
		if until, news := h.tell(5 * time.Second); news || until.Sub(begin) != 10*time.Second {
			t.Errorf("a shorter word counts: %s, %v", until.Sub(begin), news)
		}
		time.AfterFunc(8*time.Second, func() { h.tell(time.Hour) }) // is believed for a minute
		if d := waited(); d != 68*time.Second {
			t.Errorf("waited %s, want 68s", d)
		}
		h.tell(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := h.wait(ctx); err == nil || time.Since(begin) != 69*time.Second {
			t.Errorf("the end of the context: %v after %s", err, time.Since(begin))
		}
	})
}
