package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// adminServer is the admin API over mTLS: the operator's certificate is the only way in.
type adminServer struct {
	hub    *Hub
	server *http.Server
}

func newAdminServer(h *Hub, tlsc *tls.Config) *adminServer {
	a := &adminServer{hub: h}
	tlsc.NextProtos = []string{"h2", "http/1.1"}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/tenants", a.handle("tenant.ls", a.listTenants))
	mux.Handle("POST /v1/tenants", a.handle("tenant.add", a.addTenant))
	mux.Handle("DELETE /v1/tenants/{name}", a.handle("tenant.rm", a.removeTenant))
	mux.Handle("GET /v1/tenants/{name}/routes", a.handle("tenant.routes", a.routes))
	mux.Handle("PUT /v1/tenants/{name}/routes", a.handle("tenant.routes.set", a.setRoutes))
	mux.Handle("GET /v1/streams/plan", a.handle("stream.plan", a.planStreams))
	mux.Handle("POST /v1/streams/apply", a.handle("stream.apply", a.applyStreams))
	mux.Handle("POST /v1/rejoin", a.handle("hub.rejoin", a.rejoin))
	mux.Handle("POST /v1/open", a.handle("hub.open", a.waive))
	a.keyRoutes(mux)
	a.schemaRoutes(mux)
	a.flagRoutes(mux)
	a.ruleRoutes(mux)
	a.mappingRoutes(mux)
	mux.Handle("GET /v1/status", a.handle("hub.status", a.status))
	a.certificateRoutes(mux)
	a.server = &http.Server{
		Handler: mux, TLSConfig: tlsc, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	return a
}

func (a *adminServer) start(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fault.New("hub.admin", fault.Unavailable, "port_taken", "%s cannot be listened on: %v", addr, err)
	}
	go func() {
		if err := a.server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
			a.hub.log.Error("admin API ended: " + err.Error())
		}
	}()
	return nil
}

func (a *adminServer) stop(ctx context.Context) error { return a.server.Shutdown(ctx) }

// action is one admin call: it returns what is to be answered as JSON.
type action func(r *http.Request, by string) (any, error)

// handle checks who asks, runs the action and answers; every failure is a problem document.
func (a *adminServer) handle(name string, act action) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		by, err := operatorOf(r)
		var body any
		if err == nil {
			body, err = act(r, by)
		}
		status := http.StatusOK
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			status = statusOf(err)
			w.Header().Set("Content-Type", "application/problem+json")
			body = map[string]any{"type": "urn:weft:problem:" + fault.CodeOf(err), "title": http.StatusText(status), "status": status, "code": fault.CodeOf(err), "detail": detailOf(err)}
		}
		a.hub.metrics.admin.WithLabelValues(name, strconv.Itoa(status)).Inc()
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body) // a client that left cannot be told anything
	})
}

// operatorOf is the principal behind an operator's certificate.
func operatorOf(r *http.Request) (string, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", fault.New("admin", fault.Unauthenticated, "no_certificate", "the admin API asks for a client certificate")
	}
	p, err := pki.FromCertificate(r.TLS.PeerCertificates[0])
	if err != nil || p.Role != "operator" {
		return "", fault.New("admin", fault.Denied, "not_operator", "this certificate is no operator's")
	}
	return p.URI(), nil
}

// detailOf tells the caller what is wrong, and leaves out the operation, which is what they asked for.
func detailOf(err error) string {
	if e, ok := err.(*fault.Error); ok { //nolint:errorlint // the outermost alone is what was asked for
		bare := *e
		bare.Op = ""
		err = &bare
	}
	return err.Error()
}

// statusOf is the one table from kinds to HTTP status of the admin API.
func statusOf(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.Unauthenticated:
		return http.StatusUnauthorized
	case fault.Denied:
		return http.StatusForbidden
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Limited:
		return http.StatusInsufficientStorage
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// decodeBody reads a request's JSON; members that are unknown are refused, because one that is misspelt would not hold.
func decodeBody(r *http.Request, op string, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fault.New(op, fault.Invalid, "bad_request", "the body is not what %s takes: %v", op, err)
	}
	return nil
}

// dryRun says that the caller asks only for what would happen.
func dryRun(r *http.Request) bool { return r.URL.Query().Get("dry_run") == "true" }

func (a *adminServer) addTenant(r *http.Request, by string) (any, error) {
	var spec TenantSpec
	if err := decodeBody(r, "tenant.add", &spec); err != nil {
		return nil, err
	}
	return a.hub.AddTenant(r.Context(), spec, by)
}

func (a *adminServer) routes(r *http.Request, _ string) (any, error) {
	if _, ok := a.hub.State().Tenant(r.PathValue("name")); !ok {
		return nil, fault.New("tenant.routes", fault.NotFound, "no_such_tenant", "there is no tenant %q", r.PathValue("name"))
	}
	return a.hub.State().RoutesOf(r.PathValue("name")), nil
}

func (a *adminServer) setRoutes(r *http.Request, by string) (any, error) {
	var routes accounts.Routes
	if err := decodeBody(r, "tenant.routes", &routes); err != nil {
		return nil, err
	}
	return a.hub.SetRoutes(r.Context(), r.PathValue("name"), routes, by)
}

func (a *adminServer) removeTenant(r *http.Request, by string) (any, error) {
	return a.hub.RemoveTenant(r.Context(), r.PathValue("name"), dryRun(r), by)
}

func (a *adminServer) rejoin(r *http.Request, by string) (any, error) {
	return a.hub.Rejoin(r.Context(), dryRun(r), by)
}

func (a *adminServer) waive(r *http.Request, by string) (any, error) {
	if err := a.hub.Waive(r.URL.Query()["without"], by); err != nil {
		return nil, err
	}
	return a.hub.Status(), nil
}

func (a *adminServer) status(*http.Request, string) (any, error) { return a.hub.Status(), nil }

// TenantView is what the admin API tells of a tenant: no secret, sealed or not.
type TenantView struct {
	Name      string            `json:"name"`
	State     string            `json:"state"`
	Account   string            `json:"account"`
	Keys      []string          `json:"keys"`
	Regions   map[string]string `json:"regions"` // region -> "ready" or what it waits for
	DiskBytes int64             `json:"disk_bytes"`
	CreatedAt time.Time         `json:"created_at"`
}

func (a *adminServer) listTenants(*http.Request, string) (any, error) {
	state := a.hub.State()
	out := []TenantView{}
	for _, t := range state.ActiveTenants() {
		v := TenantView{Name: t.Name, State: string(t.State), Account: t.Account, DiskBytes: t.Limits.DiskBytes, CreatedAt: t.CreatedAt, Regions: map[string]string{}}
		for _, k := range state.TenantKeys(t.Name) {
			v.Keys = append(v.Keys, k.Kid)
		}
		waiting := a.hub.waiting(t)
		for _, r := range a.hub.opts.Identity.Mesh.Regions {
			if t.In(r.Name) {
				v.Regions[r.Name] = "ready"
				if why, ok := waiting[r.Name]; ok {
					v.Regions[r.Name] = why
				}
			}
		}
		out = append(out, v)
	}
	return out, nil
}
