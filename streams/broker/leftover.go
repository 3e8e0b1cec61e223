package broker

import (
	"os"
	"path/filepath"

	"github.com/nats-io/nats-server/v2/server"
)

// HasMessages says whether this server's disk holds messages of a stream, be the stream known or not: a stream whose
// description was lost is unknown, and the server takes its messages over when it is made anew.
func (b *Broker) HasMessages(account, stream string) bool {
	blocks, err := filepath.Glob(filepath.Join(b.opts.StoreDir, server.JetStreamStoreDir, account, "streams", stream, contents, "*.blk"))
	if err != nil {
		return false // the pattern is good, and Glob tells of nothing else
	}
	for _, block := range blocks {
		if info, err := os.Stat(block); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}
