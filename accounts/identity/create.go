package identity

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// Create makes the files of a mesh below dir, or completes and extends those that are there: regions may be
// added, never taken away. It overwrites no secret; it renews certificates of which less than a third of the
// life is left or that are for other hosts. The description of the mesh is written into each folder last.
func Create(dir string, m Mesh) error { return create(dir, m, time.Now()) }

func create(dir string, m Mesh, now time.Time) error {
	m, err := m.complete()
	if err != nil {
		return err
	}
	mk := maker{dir: dir, operatorDir: filepath.Join(dir, "operator"), mesh: m, now: now}
	for _, d := range []string{dir, mk.operatorDir} {
		if err := secretfile.Dir(d); err != nil {
			return err
		}
	}
	release, err := secretfile.Lock(filepath.Join(mk.operatorDir, ".lock"))
	if err != nil {
		return err
	}
	defer release()
	old, found, err := readMesh(mk.operatorDir)
	if err != nil {
		return err
	}
	if found {
		if err := m.extends(old); err != nil {
			return err
		}
	}
	for _, step := range []func() error{mk.directories, mk.authority, mk.makeOperator, mk.accounts, mk.master, mk.admin, mk.regions} {
		if err := step(); err != nil {
			return err
		}
	}
	return writeMesh(mk.operatorDir, m)
}

// maker makes one mesh's files; each step uses what the earlier ones left in its fields.
type maker struct {
	dir         string
	operatorDir string
	mesh        Mesh
	now         time.Time

	ca             *pki.Authority
	operator       *issuer.Operator
	control, audit *issuer.AccountKeys
	masterText     []byte
	seedsText      []byte
}

func (mk *maker) directories() error {
	dirs := []string{filepath.Join(mk.dir, "pki"), filepath.Join(mk.dir, "regions"), filepath.Join(mk.dir, "tenants")}
	for _, r := range mk.mesh.Regions {
		region := filepath.Join(mk.dir, "regions", r.Name)
		dirs = append(dirs, region, hubFolder(mk.dir, r.Name), relayFolder(mk.dir, r.Name), StoreDir(mk.dir, r.Name))
	}
	var fresh []Region
	for _, r := range mk.mesh.Regions {
		if !exists(hubFolder(mk.dir, r.Name)) {
			fresh = append(fresh, r)
		}
	}
	for _, d := range dirs {
		if err := secretfile.Dir(d); err != nil {
			return err
		}
	}
	return mk.firstStarts(fresh)
}

// firstStarts leaves a mark for each server of a new region that it has never stored anything. A run that is
// killed before leaves none, and the region's first start then waits for the others' word.
func (mk *maker) firstStarts(fresh []Region) error {
	for _, r := range fresh {
		for server := range max(1, r.Servers) {
			path := firstStart(hubFolder(mk.dir, r.Name), server)
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				return fault.Wrap("identity.create", fault.Unavailable, err)
			}
		}
	}
	return nil
}

// authority makes the key before the certificate: a key alone is completed, a certificate alone is not.
func (mk *maker) authority() error {
	cert, key := filepath.Join(mk.dir, "pki", caFile), filepath.Join(mk.operatorDir, caKeyFile)
	if !exists(key) {
		issued, err := mk.issued()
		if err != nil {
			return err
		}
		if issued != "" {
			return lost(key, issued)
		}
	}
	name := mk.mesh.Name + " authority"
	keyPEM, err := ensure(key, func() ([]byte, error) {
		ca, err := pki.NewAuthority(name)
		if err != nil {
			return nil, err
		}
		return ca.KeyPEM(), nil
	})
	if err != nil {
		return err
	}
	certPEM, err := ensure(cert, func() ([]byte, error) {
		ca, err := pki.AuthorityFromKey(name, keyPEM)
		if err != nil {
			return nil, err
		}
		return ca.CertPEM(), nil
	})
	if err != nil {
		return err
	}
	if mk.ca, err = pki.ParseAuthority(certPEM, keyPEM); err != nil {
		return damaged(cert+" and "+key, err)
	}
	return nil
}

// issued finds a certificate that the authority must have made.
func (mk *maker) issued() (string, error) {
	for _, pattern := range []string{"pki/" + caFile, "operator/admin.pem", "regions/*/*/" + certFile, "regions/*/*/" + caFile} {
		found, err := filepath.Glob(filepath.Join(mk.dir, pattern))
		if err != nil {
			return "", fault.Wrap("identity.create", fault.Internal, err)
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return "", nil
}

// keySet names the files of one nkey identity: its seed, the seed of its signing key, its claim.
type keySet string

const (
	operatorKeys keySet = "operator"
	systemKeys   keySet = "system"
	controlKeys  keySet = "control"
	auditKeys    keySet = "audit"
)

func (k keySet) seed() string    { return string(k) + ".nk" }
func (k keySet) signing() string { return string(k) + "-signing.nk" }
func (k keySet) token() string   { return string(k) + ".jwt" }

// seeds makes or reads the two seeds of a key set. Seeds come before the claim; a claim without them means
// that they were lost, and new ones would not be the mesh's.
func (mk *maker) seeds(k keySet, kind func() (nkeys.KeyPair, error)) (identity, signing keyring.Secret, err error) {
	token := filepath.Join(mk.operatorDir, k.token())
	for _, name := range []string{k.seed(), k.signing()} {
		if file := filepath.Join(mk.operatorDir, name); exists(token) && !exists(file) {
			return nil, nil, lost(file, token)
		}
	}
	fresh := func() ([]byte, error) {
		kp, err := kind()
		if err != nil {
			return nil, fault.Wrap("identity.create", fault.Internal, err)
		}
		return kp.Seed()
	}
	if identity, err = ensure(filepath.Join(mk.operatorDir, k.seed()), fresh); err != nil {
		return nil, nil, err
	}
	signing, err = ensure(filepath.Join(mk.operatorDir, k.signing()), fresh)
	return identity, signing, err
}

func (mk *maker) makeOperator() error {
	identity, signing, err := mk.seeds(operatorKeys, nkeys.CreateOperator)
	if err != nil {
		return err
	}
	file := filepath.Join(mk.operatorDir, operatorKeys.token())
	token, err := ensure(file, func() ([]byte, error) {
		o, err := issuer.OperatorFromSeeds(mk.mesh.Name, identity, signing)
		if err != nil {
			return nil, err
		}
		return []byte(o.JWT()), nil
	})
	if err != nil {
		return err
	}
	if mk.operator, err = issuer.LoadOperator(string(token), signing); err != nil {
		return damaged(file, err)
	}
	return nil
}

// What CONTROL and AUDIT may store in each region. The journal of request ids lies in CONTROL.
const (
	controlDisk = 1 << 30
	auditDisk   = 256 << 20
)

func (mk *maker) accounts() (err error) {
	open := accounts.Limits{
		DiskBytes: controlDisk, MaxPayload: accounts.Unlimited, Streams: 8, Consumers: accounts.Unlimited,
		Connections: accounts.Unlimited, Subscriptions: accounts.Unlimited, LeafConnections: accounts.Unlimited,
	}
	if mk.control, err = mk.account(controlKeys, issuer.AccountSpec{Name: "CONTROL", Limits: open}); err != nil {
		return err
	}
	open.DiskBytes = auditDisk
	mk.audit, err = mk.account(auditKeys, issuer.AccountSpec{Name: "AUDIT", Limits: open})
	return err
}

func (mk *maker) account(k keySet, spec issuer.AccountSpec) (*issuer.AccountKeys, error) {
	identity, signing, err := mk.seeds(k, nkeys.CreateAccount)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(mk.operatorDir, k.token())
	token, err := ensure(file, func() ([]byte, error) {
		a, err := issuer.AccountFromSeeds(mk.operator, spec, identity, signing)
		if err != nil {
			return nil, err
		}
		return []byte(a.JWT), nil
	})
	if err != nil {
		return nil, err
	}
	public, _, err := issuer.AccountOf(string(token))
	if err != nil {
		return nil, damaged(file, err)
	}
	return &issuer.AccountKeys{Name: spec.Name, Public: public, Seed: identity, SigningSeed: signing, JWT: string(token)}, nil
}

// master makes the two keys that seal secrets in the control log. Relays hold the one for request secrets
// alone: with the other they could mint a tenant's owner.
func (mk *maker) master() (err error) {
	if mk.masterText, err = mk.sealingKey(masterFile); err != nil {
		return err
	}
	mk.seedsText, err = mk.sealingKey(seedsFile)
	return err
}

func (mk *maker) sealingKey(name string) ([]byte, error) {
	file := filepath.Join(mk.operatorDir, name)
	if !exists(file) {
		copies, err := filepath.Glob(filepath.Join(mk.dir, "regions", "*", "*", name))
		if err != nil {
			return nil, fault.Wrap("identity.create", fault.Internal, err)
		}
		if len(copies) > 0 {
			return nil, lost(file, copies[0])
		}
	}
	text, err := ensure(file, func() ([]byte, error) {
		s, err := keyring.NewAgeSealer()
		if err != nil {
			return nil, err
		}
		return s.Identity(), nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := keyring.ParseAgeSealer(text); err != nil {
		return nil, damaged(file, err)
	}
	return text, nil
}

func (mk *maker) admin() error {
	_, cert, key := AdminFiles(mk.dir)
	return mk.pair(cert, key, pki.Spec{
		CommonName: mk.mesh.Name + " operator", URIs: []string{pki.Principal{Role: pki.RoleOperator}.URI()}, Client: true, TTL: certLife,
	})
}

func (mk *maker) regions() error {
	for _, r := range mk.mesh.Regions {
		if err := mk.hub(r); err != nil {
			return err
		}
		if err := mk.relay(r); err != nil {
			return err
		}
	}
	return nil
}

// hub makes one hub's folder out of copies. The region's system account has its master in DIR/operator too,
// so that a folder that was moved elsewhere is made again with the same keys.
func (mk *maker) hub(r Region) error {
	folder := hubFolder(mk.dir, r.Name)
	system, err := mk.account(keySet("system-"+r.Name), issuer.AccountSpec{Name: "SYSTEM", System: true})
	if err != nil {
		return err
	}
	secrets := map[string][]byte{
		systemKeys.signing(): system.SigningSeed, controlKeys.signing(): mk.control.SigningSeed, auditKeys.signing(): mk.audit.SigningSeed,
	}
	if r.Name == mk.mesh.Home {
		secrets[filepath.Join(homeFolder, operatorKeys.signing())] = mk.operator.SigningSeed()
		secrets[filepath.Join(homeFolder, caKeyFile)] = mk.ca.KeyPEM()
	}
	if err := copySecrets(folder, secrets); err != nil {
		return err
	}
	if err := refreshRing(folder, masterFile, mk.masterText); err != nil {
		return err
	}
	if err := refreshRing(folder, seedsFile, mk.seedsText); err != nil {
		return err
	}
	for name, text := range map[string]string{
		operatorKeys.token(): mk.operator.JWT(), systemKeys.token(): system.JWT, controlKeys.token(): mk.control.JWT,
		auditKeys.token(): mk.audit.JWT, caFile: string(mk.ca.CertPEM()),
	} {
		if err := refresh(filepath.Join(folder, name), []byte(text)); err != nil {
			return err
		}
	}
	if err := mk.serverPair(folder, r, pki.RoleHub); err != nil {
		return err
	}
	return writeMesh(folder, mk.mesh)
}

func (mk *maker) relay(r Region) error {
	folder := relayFolder(mk.dir, r.Name)
	if err := refreshRing(folder, masterFile, mk.masterText); err != nil {
		return err
	}
	if err := refresh(filepath.Join(folder, caFile), mk.ca.CertPEM()); err != nil {
		return err
	}
	if err := mk.relayCreds(r.Name, filepath.Join(folder, credsFile)); err != nil {
		return err
	}
	if err := mk.serverPair(folder, r, pki.RoleRelay); err != nil {
		return err
	}
	return writeMesh(folder, mk.mesh)
}

// relayCreds makes the credentials of a region's relays, and makes them anew where they are of an older weft, whose
// relays had other things to do.
func (mk *maker) relayCreds(region, file string) error {
	grants := grant.ControlReader(region)
	gen := func() ([]byte, error) {
		token, seed, err := issuer.User(issuer.UserSpec{
			Name: "relay-" + region, Account: mk.control.Public, SigningSeed: mk.control.SigningSeed, Permissions: grants,
		})
		if err != nil {
			return nil, err
		}
		return issuer.FormatCreds(token, seed)
	}
	have, err := ensure(file, gen)
	if err != nil || !issuer.Outdated(have, grants) {
		return err
	}
	fresh, err := gen()
	if err != nil {
		return err
	}
	return secretfile.Replace(file, fresh)
}

// ensure returns the file's content, made with gen if there is no such file.
func ensure(file string, gen func() ([]byte, error)) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err == nil {
		return text, secretfile.Tighten(file)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, missing(file, err)
	}
	if text, err = gen(); err != nil {
		return nil, err
	}
	return secretfile.Create(file, text)
}

// copySecrets copies secrets into a folder; another secret of the same name there is of another mesh.
func copySecrets(folder string, secrets map[string][]byte) error {
	for name, want := range secrets {
		file := filepath.Join(folder, name)
		have, err := ensure(file, func() ([]byte, error) { return want, nil })
		if err != nil {
			return err
		}
		if !bytes.Equal(have, want) {
			return otherMesh(file)
		}
	}
	return nil
}

func otherMesh(file string) error {
	return fault.New("identity.create", fault.Conflict, "other_mesh",
		"%s is not the one of this mesh: it was copied from another mesh, or restored from an older backup; move it away", file)
}

// refresh makes a file that is no secret be what it should be.
func refresh(file string, want []byte) error {
	if have, err := os.ReadFile(file); err == nil && bytes.Equal(have, want) {
		return nil
	}
	return secretfile.Replace(file, want)
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

func lost(secret, because string) error {
	return fault.New("identity.create", fault.Conflict, "secret_lost",
		"%s is missing although %s was made with it: restore it from a backup, or start in an empty directory", secret, because)
}

func damaged(file string, err error) error {
	return &fault.Error{Op: "identity.create", Kind: fault.Invalid, Code: "identity_damaged", Detail: file + ": restore it from a backup", Err: err}
}
