package files

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

var listAll = minio.ListObjectsOptions{Recursive: true}

const accessKey, secretKey = "weft-test", "not a secret of anybody's"

// s3Server is an S3 server in memory that checks signatures, and in which answers are lost as told.
type s3Server struct {
	url    string
	lose   atomic.Pointer[func(*http.Request) bool] // carried out, and answered 503
	refuse atomic.Pointer[func(*http.Request) bool] // answered 503 at once
	unsafe atomic.Bool                              // If-None-Match is ignored
}

func fakeS3(t *testing.T) *s3Server {
	t.Helper()
	f := &s3Server{}
	backend := s3mem.New()
	if err := backend.CreateBucket("events"); err != nil {
		t.Fatal(err)
	}
	inner := gofakes3.New(backend).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		busy := func() {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`<Error><Code>SlowDown</Code><Message>busy</Message></Error>`))
		}
		if !signed(r) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>`))
			return
		}
		if is := f.refuse.Load(); is != nil && (*is)(r) {
			busy()
			return
		}
		if f.unsafe.Load() {
			r.Header.Del("If-None-Match")
		}
		if is := f.lose.Load(); is != nil && (*is)(r) {
			inner.ServeHTTP(httptest.NewRecorder(), r)
			busy()
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f.url = strings.TrimPrefix(srv.URL, "http://")
	return f
}

func (f *s3Server) options(prefix string) S3 {
	return S3{Endpoint: f.url, Region: "eu-central-1", Bucket: "events", Prefix: prefix, AccessKey: accessKey, SecretKey: keyring.Secret(secretKey), Plain: true}
}

func (f *s3Server) bucket(t *testing.T) *bucket {
	t.Helper()
	o := f.options("some/table")
	b, err := openBucket(&o, DefaultOptions().Timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// signed checks AWS Signature Version 4 as its documentation says.
func signed(r *http.Request) bool {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return false
	}
	part := map[string]string{}
	for f := range strings.SplitSeq(fields, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		part[name] = value
	}
	key, scope, _ := strings.Cut(part["Credential"], "/")
	dated := strings.Split(scope, "/")
	if key != accessKey || len(dated) != 4 {
		return false
	}
	names := strings.Split(part["SignedHeaders"], ";")
	if !slices.Contains(names, "host") || r.Header.Get("If-None-Match") != "" && !slices.Contains(names, "if-none-match") {
		return false
	}
	var canonical bytes.Buffer
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20"))
	for _, n := range names {
		value := strings.Join(r.Header.Values(n), ",")
		if n == "host" {
			value = r.Host
		}
		if n == "content-length" {
			value = fmt.Sprint(r.ContentLength)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", n, strings.TrimSpace(value))
	}
	fmt.Fprintf(&canonical, "\n%s\n%s", part["SignedHeaders"], r.Header.Get("X-Amz-Content-Sha256"))
	sum := sha256.Sum256(canonical.Bytes())
	toSign := strings.Join([]string{"AWS4-HMAC-SHA256", r.Header.Get("X-Amz-Date"), scope, hex.EncodeToString(sum[:])}, "\n")
	mac := []byte("AWS4" + secretKey)
	for _, word := range append(dated, toSign) {
		h := hmac.New(sha256.New, mac)
		h.Write([]byte(word))
		mac = h.Sum(nil)
	}
	return hmac.Equal([]byte(hex.EncodeToString(mac)), []byte(part["Signature"]))
}

func TestS3(t *testing.T) {
	f := fakeS3(t)
	o := Options{S3: f.options("acme/events")}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, messages(0, 9))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	s.mustWrite(t, messages(5, 19))

	// The answer to a commit is lost: the client asks again, hears that the name is taken, and looks whose it is.
	lost := 0
	isCommit := func(r *http.Request) bool {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, logFolder) && lost == 0 {
			lost++
			return true
		}
		return false
	}
	f.lose.Store(&isCommit)
	s.mustWrite(t, messages(20, 29))
	if lost != 1 || s.version != 3 {
		t.Errorf("%d answers were lost, version %d", lost, s.version)
	}
	wantOnce(t, s.st, 29)
}

func TestS3Refusals(t *testing.T) {
	t.Parallel()
	f := fakeS3(t)
	open := func(change func(*S3)) error {
		o := Options{S3: f.options("")}
		change(&o.S3)
		s, err := Open(t.Context(), o)
		if err == nil {
			_ = s.Close()
		}
		return err
	}
	for name, c := range map[string]struct {
		change func(*S3)
		kind   fault.Kind
		code   string
	}{
		"another secret": {func(o *S3) { o.SecretKey = keyring.Secret("wrong") }, fault.Denied, "not_permitted"},
		"another key":    {func(o *S3) { o.AccessKey = "wrong" }, fault.Denied, "not_permitted"},
		"no bucket":      {func(o *S3) { o.Bucket = "nowhere" }, fault.NotFound, "no_bucket"},
		"nobody there":   {func(o *S3) { o.Endpoint = "127.0.0.1:1" }, fault.Unavailable, "unavailable"},
	} {
		err := open(c.change)
		if fault.KindOf(err) != c.kind || fault.CodeOf(err) != c.code {
			t.Errorf("%s: %s %s: %v", name, fault.KindOf(err), fault.CodeOf(err), err)
		}
		if err != nil && strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
	f.unsafe.Store(true)
	if err := open(func(*S3) {}); fault.CodeOf(err) != "no_conditional_writes" {
		t.Errorf("a server that overwrites: %v", err)
	}
}

// While the server is busy events wait, and nothing of what was begun stays.
func TestS3IsBusy(t *testing.T) {
	t.Parallel()
	f := fakeS3(t)
	st := f.bucket(t)
	s := openIn(t, Options{}, st)
	for _, kind := range []string{ownFolder, "dt=", logFolder} {
		busy := func(r *http.Request) bool { return r.Method == http.MethodPut && strings.Contains(r.URL.Path, kind) }
		f.refuse.Store(&busy)
		if err := s.HandleBatch(t.Context(), messages(0, 5)); fault.KindOf(err) != fault.Unavailable || fault.CodeOf(err) != "slow_down" {
			t.Errorf("%s: %v", kind, err)
		}
	}
	f.refuse.Store(nil)
	s.mustWrite(t, messages(0, 5))
	s.mustWrite(t, messages(6, 7))
	wantOnce(t, st, 7)
	if err := errors.Join(s.Close()); err != nil {
		t.Error(err)
	}
}
