package hub

import "net/http"

// schemaRoutes are the part of the admin API that is about schemas. Every region serves them.
func (a *adminServer) schemaRoutes(mux *http.ServeMux) {
	mux.Handle("GET /v1/tenants/{name}/schemas", a.handle("schema.ls", a.listSchemas))
	mux.Handle("POST /v1/tenants/{name}/schemas", a.handle("schema.register", a.registerSchema))
	mux.Handle("GET /v1/tenants/{name}/schemas/{subject}/{version}", a.handle("schema.show", a.showSchema))
	mux.Handle("POST /v1/tenants/{name}/schemas/{subject}/{version}/step", a.handle("schema.step", a.stepSchema))
	mux.Handle("POST /v1/tenants/{name}/schemas/{subject}/{version}/rollback", a.handle("schema.rollback", a.rollbackSchema))
}

func (a *adminServer) listSchemas(r *http.Request, _ string) (any, error) {
	return a.hub.Schemas(r.PathValue("name"), r.URL.Query().Get("subject"))
}

func (a *adminServer) showSchema(r *http.Request, _ string) (any, error) {
	return a.hub.Schema(r.PathValue("name"), r.PathValue("subject"), r.PathValue("version"))
}

func (a *adminServer) registerSchema(r *http.Request, by string) (any, error) {
	var spec SchemaSpec
	if err := decodeBody(r, "schema.register", &spec); err != nil {
		return nil, err
	}
	return a.hub.RegisterSchema(r.Context(), r.PathValue("name"), spec, dryRun(r), by)
}

func (a *adminServer) stepSchema(r *http.Request, by string) (any, error) {
	var spec SchemaStepSpec
	if err := decodeBody(r, "schema.step", &spec); err != nil {
		return nil, err
	}
	return a.hub.StepSchema(r.Context(), r.PathValue("name"), r.PathValue("subject"), r.PathValue("version"), spec, dryRun(r), by)
}

func (a *adminServer) rollbackSchema(r *http.Request, by string) (any, error) {
	var spec SchemaRollbackSpec
	if err := decodeBody(r, "schema.rollback", &spec); err != nil {
		return nil, err
	}
	return a.hub.RollbackSchema(r.Context(), r.PathValue("name"), r.PathValue("subject"), r.PathValue("version"), spec, dryRun(r), by)
}
