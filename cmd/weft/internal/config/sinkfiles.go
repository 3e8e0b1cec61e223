package config

import (
	"strings"
	"time"

	"github.com/weft-mesh/weft/consumers/sink/files"
)

// Files is the table of Parquet files that events are written to: in a directory, or in a bucket.
type Files struct {
	Dir       string        `mapstructure:"dir" usage:"directory of the table, made when it is not there; not with s3"`
	S3        S3            `mapstructure:"s3"`
	Batch     int           `mapstructure:"batch" usage:"events of one commit at most"`
	Linger    time.Duration `mapstructure:"linger" usage:"how long a commit waits for more events after its first one; 0: it does not"`
	FileBytes ByteSize      `mapstructure:"file_bytes" usage:"bytes of events at which a file is closed"`
	Raw       bool          `mapstructure:"raw" usage:"true: a column with each event as its producer sent it, byte for byte"`
	Remember  int           `mapstructure:"remember" usage:"how many of the last events are compared with what comes"`
	Horizon   time.Duration `mapstructure:"horizon" usage:"how much of the table's life is read for that at the start"`
	Timeout   time.Duration `mapstructure:"timeout" usage:"time for one request to S3"`
}

// S3 is a bucket of any server that speaks S3.
type S3 struct {
	Endpoint      string `mapstructure:"endpoint" usage:"host or host:port of the server"`
	Region        string `mapstructure:"region" usage:"region of the bucket"`
	Bucket        string `mapstructure:"bucket" usage:"bucket of the table; not with dir"`
	Prefix        string `mapstructure:"prefix" usage:"what the names of all objects begin with"`
	AccessKey     string `mapstructure:"access_key" usage:"access key (default: the environment's AWS_…, or the machine's role)"`
	SecretKeyFile string `mapstructure:"secret_key_file" usage:"file with the access key's secret"`
	CAFile        string `mapstructure:"ca_file" usage:"authorities that vouch for the server (default: the system's)"`
	Plain         bool   `mapstructure:"plain" usage:"true: http without TLS"`
}

func defaultFiles() Files {
	o := files.DefaultOptions()
	return Files{
		S3: S3{Endpoint: o.S3.Endpoint}, Batch: o.Batch, Linger: o.Linger, FileBytes: ByteSize(o.FileBytes),
		Remember: o.Remember, Horizon: o.Horizon, Timeout: o.Timeout,
	}
}

func (p *Problems) files(f *Files) {
	if (f.Dir == "") == (f.S3.Bucket == "") {
		p.addf("sink.files.dir", "is one of two: say either sink.files.dir or sink.files.s3.bucket")
	}
	if f.S3.Endpoint == "" || strings.Contains(f.S3.Endpoint, "/") {
		p.addf("sink.files.s3.endpoint", "%q is not host or host:port", f.S3.Endpoint)
	}
	if strings.Trim(f.S3.Prefix, "/") != f.S3.Prefix {
		p.addf("sink.files.s3.prefix", "%q begins or ends with a slash", f.S3.Prefix)
	}
	if (f.S3.AccessKey == "") != (f.S3.SecretKeyFile == "") {
		p.addf("sink.files.s3.access_key", "and sink.files.s3.secret_key_file need each other")
	}
	p.count("sink.files.batch", f.Batch, 1, 10_000)
	p.between("sink.files.linger", f.Linger, 0, time.Hour)
	if f.FileBytes < 64<<10 || f.FileBytes > 4<<30 {
		p.addf("sink.files.file_bytes", "%s is not between 64KiB and 4GiB", f.FileBytes)
	}
	p.count("sink.files.remember", f.Remember, max(f.Batch, 1), 1<<30)
	p.between("sink.files.horizon", f.Horizon, time.Minute, 10*365*24*time.Hour)
	p.between("sink.files.timeout", f.Timeout, time.Millisecond, time.Hour)
}
