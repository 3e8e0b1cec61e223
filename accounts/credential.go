package accounts

// CredentialRequest is what a relay asks the hub of its region on subject.Credential: a user in a tenant's
// account, for a key pair that the relay made itself.
type CredentialRequest struct {
	Tenant     string `json:"tenant"`
	RelayID    string `json:"relay_id"`
	UserPublic string `json:"user_public"` // public user nkey
}

// CredentialResponse carries the user's token, or in Error why there is none.
type CredentialResponse struct {
	JWT   string `json:"jwt,omitempty"`
	Error string `json:"error,omitempty"`
}

// RenewalResponse answers a pki.Renewal on subject.Renewal: the new certificate, or in Error why there is none.
type RenewalResponse struct {
	Certificate string `json:"certificate,omitempty"` // PEM
	Error       string `json:"error,omitempty"`
}
