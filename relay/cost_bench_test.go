package relay_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/relay"
)

// BenchmarkRelayCost is the CPU of requests of different sizes: load generator, relay and server in one process, over
// TLS, signed. "raw" publishes the same events without a relay. One operation is 500 requests.
func BenchmarkRelayCost(b *testing.B) {
	const requests = 500
	for _, size := range []int{1, 10, 100} {
		b.Run("batch"+strconv.Itoa(size), func(b *testing.B) {
			r := newRig(b, func(o *relay.Options) { o.Logger = zap.NewNop() })
			client := r.client(acme, true)
			client.Transport.(*http.Transport).MaxIdleConnsPerHost = senders
			var cpu time.Duration
			round, stored := 0, fmt.Appendf(nil, `{"stored":%d,`, size)
			for b.Loop() {
				round++
				bodies := make([][]byte, requests)
				for i := range bodies {
					var body bytes.Buffer
					for j := range size {
						n := i*size + j
						body.Write(benchEvent(fmt.Sprintf("cost-%d-%08d-%010d", size, round, n), n))
						body.WriteByte('\n')
					}
					bodies[i] = body.Bytes()
				}
				began := processCPU(b)
				r.sendEach(client, bodies, stored)
				cpu += processCPU(b) - began
			}
			b.ReportMetric(float64(cpu)/float64(round*requests*size), "cpu-ns/event")
		})
	}
	b.Run("raw", func(b *testing.B) {
		raw := newRawPublisher(b, newRig(b, func(o *relay.Options) { o.Logger = zap.NewNop() }))
		var cpu time.Duration
		round := 0
		for b.Loop() {
			round++
			events := makeRaw(round)
			began := processCPU(b)
			raw.publish(events)
			cpu += processCPU(b) - began
		}
		b.ReportMetric(float64(cpu)/float64(round*roundEvents), "cpu-ns/event")
	})
}

func processCPU(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
