package files

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// bucket is the store of an S3 bucket. Servers promise since 2020 that what was written is seen by every later read
// and list; names are taken by conditional writes.
type bucket struct {
	client  *minio.Client
	close   func() // idle connections
	name    string
	prefix  string // "" or with a slash at its end
	timeout time.Duration
}

func openBucket(o *S3, timeout time.Duration) (*bucket, error) {
	transport, err := minio.DefaultTransport(!o.Plain)
	if err != nil {
		return nil, err
	}
	if o.RootCAs != nil {
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs}
	}
	creds := credentials.NewStaticV4(o.AccessKey, string(o.SecretKey.Bytes()), "")
	if o.AccessKey == "" {
		creds = credentials.NewChainCredentials([]credentials.Provider{&credentials.EnvAWS{}, &credentials.IAM{}})
	}
	client, err := minio.New(o.Endpoint, &minio.Options{Creds: creds, Secure: !o.Plain, Region: o.Region, Transport: transport, MaxRetries: 3})
	if err != nil {
		return nil, err
	}
	b := &bucket{client: client, close: transport.CloseIdleConnections, name: o.Bucket, timeout: timeout}
	if o.Prefix != "" {
		b.prefix = o.Prefix + "/"
	}
	return b, nil
}

func (b *bucket) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.timeout)
}

func (b *bucket) put(ctx context.Context, name string, data []byte) error {
	return b.write(ctx, name, data, minio.PutObjectOptions{})
}

// create writes on the condition that there is no such object. The client repeats a request whose answer was lost, so
// errTaken can also mean that the first one was carried out: the object tells whose it is.
func (b *bucket) create(ctx context.Context, name string, data []byte) error {
	var o minio.PutObjectOptions
	o.SetMatchETagExcept("*")
	err := b.write(ctx, name, data, o)
	if minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed {
		return errTaken
	}
	return err
}

func (b *bucket) write(ctx context.Context, name string, data []byte, o minio.PutObjectOptions) error {
	ctx, cancel := b.limit(ctx)
	defer cancel()
	o.DisableMultipart, o.SendContentMd5 = true, true
	_, err := b.client.PutObject(ctx, b.name, b.prefix+name, bytes.NewReader(data), int64(len(data)), o)
	return err
}

// open asks once for what there is; reads are requests of their own.
func (b *bucket) open(ctx context.Context, name string) (*object, error) {
	ctx, cancel := b.limit(ctx)
	obj, err := b.client.GetObject(ctx, b.name, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		cancel()
		return nil, err
	}
	info, err := obj.Stat()
	if err != nil {
		_ = obj.Close()
		cancel()
		if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
			return nil, errMissing
		}
		return nil, err
	}
	return &object{ReaderAt: obj, size: info.Size, close: func() error { defer cancel(); return obj.Close() }}, nil
}

func (b *bucket) list(ctx context.Context, folder, after string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	prefix := b.prefix + folder + "/"
	var names []string
	for o := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix, StartAfter: prefix + after}) {
		if o.Err != nil {
			return nil, o.Err
		}
		if name := strings.TrimPrefix(o.Key, prefix); name > after && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	return names, ctx.Err()
}

func (b *bucket) remove(ctx context.Context, name string) error {
	ctx, cancel := b.limit(ctx)
	defer cancel()
	return b.client.RemoveObject(ctx, b.name, b.prefix+name, minio.RemoveObjectOptions{})
}
