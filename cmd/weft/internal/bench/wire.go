package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/accounts/signature"
)

// wire is one HTTP/1.1 connection of a producer to a relay. A load generator shares its machine with what it
// measures, so it does no more for a request than a producer has to: format and sign it in one buffer, write it at
// once, and read status and body of the answer. It belongs to one goroutine.
type wire struct {
	end      *endpoint
	conn     *tls.Conn
	in       *bufio.Reader
	out      []byte
	answer   []byte
	requests uint64
	tag      string
}

const answerWait = 20 * time.Second

func dial(e *endpoint, tag string) (*wire, error) {
	conn, err := tls.Dial("tcp", e.host, e.tls)
	if err != nil {
		return nil, err
	}
	return &wire{end: e, conn: conn, in: bufio.NewReaderSize(conn, 16<<10), tag: tag}, nil
}

func (w *wire) close() { _ = w.conn.Close() }

const target = "/v1/events"

// post sends one request and returns the answer, which is valid until the next one. spoil breaks the signature.
func (w *wire) post(body []byte, contentType string, now time.Time, spoil bool) (status int, answer []byte, err error) {
	w.requests++
	signed := signature.Request{
		Kid: w.end.kid, Timestamp: strconv.FormatInt(now.Unix(), 10), RequestID: w.tag + strconv.FormatUint(w.requests, 36),
		Method: "POST", Host: w.end.host, Target: target, ContentType: contentType, BodySHA256: sha256.Sum256(body),
	}
	mac := signature.Sign(w.end.secret.Bytes(), &signed)
	if spoil {
		mac = "v1=" + "00" + mac[5:]
	}
	b := append(w.out[:0], "POST "+target+" HTTP/1.1\r\nHost: "...)
	b = append(b, w.end.host...)
	for _, h := range [...][2]string{
		{"Content-Type", contentType}, {signature.KeyID, signed.Kid}, {signature.Timestamp, signed.Timestamp},
		{signature.RequestID, signed.RequestID}, {signature.Signature, mac},
	} {
		b = append(b, '\r', '\n')
		b = append(b, h[0]...)
		b = append(b, ':', ' ')
		b = append(b, h[1]...)
	}
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	w.out = append(b, body...)
	if err := w.conn.SetDeadline(now.Add(answerWait)); err != nil {
		return 0, nil, err
	}
	if _, err := w.conn.Write(w.out); err != nil {
		return 0, nil, err
	}
	return w.read()
}

var errAnswer = errors.New("an answer that this client does not read")

// read takes an answer with a Content-Length, as a relay writes all of its.
func (w *wire) read() (status int, body []byte, err error) {
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("%w: %.40q", errAnswer, line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, fmt.Errorf("%w: %.40q", errAnswer, line)
	}
	length := -1
	for {
		if line, err = w.in.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		}
	}
	if length < 0 {
		return 0, nil, errAnswer
	}
	if cap(w.answer) < length {
		w.answer = make([]byte, length)
	}
	w.answer = w.answer[:length]
	_, err = io.ReadFull(w.in, w.answer)
	return status, w.answer, err
}
