package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/fault"
)

// Each attempt carries the token of its time; one that cannot be had at the moment costs an attempt, no event.
func TestTokenIsFreshForEachAttempt(t *testing.T) {
	f := newFake(t, answers(503, "token_key_pending", ""), answers(503, "overloaded", ""))
	asked := 0
	c := newClient(t, f, func(o *client.Options) {
		o.Token = func(context.Context) (string, error) {
			if asked++; asked == 2 {
				return "", errors.New("the issuer is away")
			}
			return fmt.Sprint("token-", asked), nil
		}
	})
	got, err := c.Send(t.Context(), makeEvents(3))
	if err != nil || statuses(got)[client.Stored] != 3 {
		t.Fatalf("%v, %v", statuses(got), err)
	}
	if want := []string{"Bearer token-1", "Bearer token-3", "Bearer token-4"}; !slices.Equal(f.tokens, want) {
		t.Errorf("sent %q, want %q", f.tokens, want)
	}
}

func TestTokenThatCannotBeHad(t *testing.T) {
	f := newFake(t)
	c := newClient(t, f, func(o *client.Options) {
		o.MaxRetries = 2
		o.Token = func(context.Context) (string, error) { return "", errors.New("the issuer is away") }
	})
	got, err := c.Send(t.Context(), makeEvents(1))
	if fault.KindOf(err) != fault.Unavailable || got[0].Status != client.Unknown || got[0].Detail != "no access token: the issuer is away" || len(f.requests) != 0 {
		t.Errorf("%v, %+v, %d requests", err, got[0], len(f.requests))
	}
}

func TestNoTokenNoHeader(t *testing.T) {
	f := newFake(t)
	if _, err := newClient(t, f, nil).Send(t.Context(), makeEvents(1)); err != nil || !slices.Equal(f.tokens, []string{""}) {
		t.Errorf("%v, %q", err, f.tokens)
	}
}
