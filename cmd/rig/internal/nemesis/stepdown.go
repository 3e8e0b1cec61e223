package nemesis

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams/subject"
)

// stepDowns is how often a leader hands over in one fault.
const stepDowns = 3

// stepDown lets the leaders of every tenant's stream in the region hand over, with rights that only whoever
// holds the region's keys can give.
func (in *Injector) stepDown(ctx context.Context, f Fault) error {
	id, err := identity.LoadHub(in.Fleet.Data(), f.Region)
	if err != nil {
		return err
	}
	origin := subject.Origin{Region: f.Region, Epoch: 1}
	conn, err := in.serve(f.Region, id.Control.Public, id.Control.SigningSeed.Bytes(), origin)
	if err != nil {
		in.Log("        no step-down: %v", err) // the region is down
		return nil
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	open, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	log, err := control.Open(open, control.Options{JS: js, Self: origin})
	if err != nil {
		in.Log("        no step-down: %v", err)
		return nil
	}
	defer log.Close()
	for range stepDowns {
		in.handOver(conn, subject.ControlStream)
		for _, t := range log.State().ActiveTenants() {
			seed, err := id.Seeds.Open(ctx, t.SigningSeed)
			if err != nil {
				return err
			}
			c, err := in.serve(f.Region, t.Account, seed.Bytes(), origin)
			if err != nil {
				continue
			}
			in.handOver(c, subject.EventsStream)
			c.Close()
		}
		wait(ctx, f.For/stepDowns)
	}
	return nil
}

func (in *Injector) handOver(c *nats.Conn, stream string) {
	if _, err := c.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second); err != nil {
		in.Log("        %s did not hand over: %v", stream, err)
	}
}

// serve connects with the rights of a hub in one account.
func (in *Injector) serve(region, account string, seed []byte, origin subject.Origin) (*nats.Conn, error) {
	token, user, err := issuer.User(issuer.UserSpec{Name: "rig", Account: account, SigningSeed: seed, Permissions: grant.Service(origin), TTL: time.Hour})
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	return nats.Connect(in.Fleet.NatsURLs(region), nats.RootCAs(in.Fleet.CA()), nats.UserJWTAndSeed(token, string(user.Bytes())),
		nats.CustomInboxPrefix(subject.InboxPrefix(region)), nats.Timeout(2*time.Second))
}
