package hub

import "net/http"

// keyRoutes are the part of the admin API that is about keys. Every region serves them.
func (a *adminServer) keyRoutes(mux *http.ServeMux) {
	mux.Handle("GET /v1/keys", a.handle("key.ls", a.listKeys))
	mux.Handle("POST /v1/keys", a.handle("key.add", a.addKey))
	mux.Handle("POST /v1/keys/{kid}/activate", a.handle("key.activate", a.activateKey))
	mux.Handle("POST /v1/keys/{kid}/rotate", a.handle("key.rotate", a.rotateKey))
	mux.Handle("POST /v1/keys/{kid}/revoke", a.handle("key.revoke", a.revokeKey))
	mux.Handle("GET /v1/masters", a.handle("kms.ls", a.listMasters))
	mux.Handle("POST /v1/masters/rewrap", a.handle("kms.rewrap", a.rewrap))
}

func (a *adminServer) listKeys(r *http.Request, _ string) (any, error) {
	return a.hub.Keys(r.URL.Query().Get("tenant"))
}

func (a *adminServer) addKey(r *http.Request, by string) (any, error) {
	var spec KeySpec
	if err := decodeBody(r, "key.add", &spec); err != nil {
		return nil, err
	}
	return a.hub.AddKey(r.Context(), spec, by)
}

func (a *adminServer) activateKey(r *http.Request, by string) (any, error) {
	return a.hub.ActivateKey(r.Context(), r.PathValue("kid"), by)
}

func (a *adminServer) rotateKey(r *http.Request, by string) (any, error) {
	var spec RotateSpec
	if err := decodeBody(r, "key.rotate", &spec); err != nil {
		return nil, err
	}
	return a.hub.RotateKey(r.Context(), r.PathValue("kid"), spec, by)
}

func (a *adminServer) revokeKey(r *http.Request, by string) (any, error) {
	return a.hub.RevokeKey(r.Context(), r.PathValue("kid"), dryRun(r), by)
}

func (a *adminServer) listMasters(r *http.Request, _ string) (any, error) {
	return a.hub.Masters(r.Context())
}

func (a *adminServer) rewrap(r *http.Request, by string) (any, error) {
	return a.hub.Rewrap(r.Context(), r.URL.Query()["without"], by)
}
