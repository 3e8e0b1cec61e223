package issuertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/weft-mesh/weft/accounts/token"
)

const (
	envDir    = "WEFT_TEST_ISSUER_DIR"
	envListen = "WEFT_TEST_ISSUER_LISTEN"
)

// Serve returns at once in a test, and never in the process that is the issuer.
func Serve() {
	dir := os.Getenv(envDir)
	if dir == "" {
		return
	}
	if err := serve(dir, os.Getenv(envListen)); err != nil {
		fmt.Fprintln(os.Stderr, "issuer:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// signer is one key of the issuer.
type signer struct {
	kid string
	key crypto.Signer
}

// server is the issuer inside its process.
type server struct {
	dir, name, alg string

	mu    sync.Mutex
	keys  []signer // the last one signs
	mode  string
	reads int
}

func serve(dir, listen string) error {
	alg, err := os.ReadFile(filepath.Join(dir, "alg"))
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s := &server{dir: dir, name: "https://" + l.Addr().String(), alg: string(alg), mode: Well}
	if err := s.load(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("GET /jwks", s.jwks)
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, _ *http.Request) { s.publish(w) })
	mux.HandleFunc("POST /control/rotate", s.rotate)
	mux.HandleFunc("POST /control/mode", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mode = r.FormValue("to")
	})
	mux.HandleFunc("POST /control/reads", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, _ = io.WriteString(w, strconv.Itoa(s.reads))
	})
	h := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}}
	go func() { // the issuer ends with the test that started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = h.Close()
	}()
	fmt.Println(l.Addr())
	return h.ServeTLS(l, "", "")
}

// load reads the keys that an earlier process kept, or makes the first.
func (s *server) load() error {
	files, err := filepath.Glob(filepath.Join(s.dir, "signer-*.der")) // sorted, so in the order of their age
	if err != nil {
		return err
	}
	for _, path := range files {
		der, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return err
		}
		s.keys = append(s.keys, signer{strings.TrimSuffix(filepath.Base(path), ".der"), key.(crypto.Signer)})
	}
	if len(s.keys) == 0 {
		return s.add()
	}
	return nil
}

func (s *server) add() error {
	var key crypto.Signer
	var err error
	if strings.HasPrefix(s.alg, "ES") {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	kid := fmt.Sprintf("signer-%d", time.Now().UnixNano())
	s.keys = append(s.keys, signer{kid, key})
	return os.WriteFile(filepath.Join(s.dir, kid+".der"), der, 0o600)
}

func (s *server) rotate(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.add(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.FormValue("keep") == "true" {
		return
	}
	last := len(s.keys) - 1
	for _, old := range s.keys[:last] {
		_ = os.Remove(filepath.Join(s.dir, old.kid+".der"))
	}
	s.keys = s.keys[last:]
}

// token answers the client credentials grant.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	tenant, secret, ok := r.BasicAuth()
	if !ok || secret != Secret || r.FormValue("grant_type") != "client_credentials" {
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	lifetime, err := strconv.Atoi(r.FormValue("lifetime"))
	if err != nil {
		http.Error(w, `{"error":"invalid_request"}`, http.StatusBadRequest)
		return
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": s.name, "aud": Audience, "sub": tenant, "client_id": tenant, "tenant": tenant, "scope": r.FormValue("scope"),
		"iat": now.Unix(), "exp": now.Unix() + int64(lifetime), "jti": strconv.FormatInt(now.UnixNano(), 36),
	}
	if len(r.TLS.PeerCertificates) > 0 {
		claims["cnf"] = map[string]string{"x5t#S256": token.Thumbprint(r.TLS.PeerCertificates[0])}
	}
	s.mu.Lock()
	with := s.keys[len(s.keys)-1]
	s.mu.Unlock()
	t := jwt.NewWithClaims(jwt.GetSigningMethod(s.alg), claims)
	t.Header["typ"], t.Header["kid"] = "at+jwt", with.kid
	raw, err := t.SignedString(with.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": raw, "token_type": "Bearer", "expires_in": lifetime})
}

func (s *server) jwks(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.reads++
	mode := s.mode
	s.mu.Unlock()
	switch mode {
	case Slow:
		<-r.Context().Done()
	case Huge:
		_, _ = io.WriteString(w, `{"keys":[{"kid":"`)
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("a", 64<<10)); err != nil {
				return
			}
		}
	case HTML:
		_, _ = io.WriteString(w, "<html>sign in</html>")
	case Failing:
		http.Error(w, "down", http.StatusInternalServerError)
	case Redirect:
		http.Redirect(w, r, "/moved", http.StatusFound)
	case Empty:
		_, _ = io.WriteString(w, `{"keys":[]}`)
	default:
		s.publish(w)
	}
}

func (s *server) publish(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var set jwkset.JWKSMarshal
	for _, one := range s.keys {
		k, err := jwkset.NewJWKFromKey(one.key.Public(), jwkset.JWKOptions{
			Metadata: jwkset.JWKMetadataOptions{KID: one.kid, ALG: jwkset.ALG(s.alg), USE: jwkset.UseSig}})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		set.Keys = append(set.Keys, k.Marshal())
	}
	_ = json.NewEncoder(w).Encode(set)
}
