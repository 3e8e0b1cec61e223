package grant_test

import (
	"fmt"

	"github.com/weft-mesh/weft/accounts/grant"
)

// A consumer bound to one durable of one topic.
func ExampleConsumer() {
	p := grant.Consumer([]string{"crm"}, []string{"bets"})
	for _, s := range p.Publish {
		fmt.Println("publish  ", s)
	}
	for _, s := range p.Subscribe {
		fmt.Println("subscribe", s)
	}
	// Output:
	// publish   $JS.API.INFO
	// publish   $JS.API.STREAM.INFO.EVENTS
	// publish   $JS.API.CONSUMER.INFO.EVENTS.crm
	// publish   $JS.API.CONSUMER.MSG.NEXT.EVENTS.crm
	// publish   $JS.API.CONSUMER.CREATE.EVENTS.crm.evt.*.*.*.bets.>
	// publish   $JS.ACK.EVENTS.crm.>
	// publish   $JS.ACK.*.*.EVENTS.crm.>
	// publish   dlq.*.*.*.crm
	// publish   $JS.API.CONSUMER.INFO.DLQ.crm
	// publish   $JS.API.CONSUMER.MSG.NEXT.DLQ.crm
	// publish   $JS.ACK.DLQ.crm.>
	// publish   $JS.ACK.*.*.DLQ.crm.>
	// subscribe _INBOX.crm.>
}
