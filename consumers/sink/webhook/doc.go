// Package webhook posts a tenant's events to one HTTP endpoint of somebody else's, such as that of a CRM or a customer
// data platform, signed as Standard Webhooks asks.
//
// Once: at least once. An event is acknowledged after the endpoint answered 2xx, so an answer that is lost on its way
// makes the event come again. Every attempt for an event has the same webhook-id, which is the event's id: whoever keeps
// the ids that were handled takes each event once.
//
// The body is the event byte for byte. Every secret of Options.Secrets signs it: while one is replaced, list both.
//
// The endpoint is not trusted. Addresses are checked when they are dialled, after the name was resolved, so no name
// leads to what is private; redirects are not followed, proxies of the environment are not used, and of an answer only
// its status and Retry-After count, whatever else it holds.
//
// A sink has one endpoint, so the subscription's breaker is the endpoint's. While the endpoint said that it wants to be
// left alone (Retry-After), and after 410 until somebody removes the record of it, Handle waits: the stream is the buffer.
//
// cmd/weft runs a Sink. Its methods are safe for concurrent use.
package webhook
