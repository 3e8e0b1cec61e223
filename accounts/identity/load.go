package identity

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
)

// Account is an account of the operator's own, as a hub holds it.
type Account struct {
	Name        string
	Public      string
	JWT         string
	SigningSeed keyring.Secret // signs the account's users; its identity's seed stays in DIR/operator
}

// Hub is what the hub of one region loads.
type Hub struct {
	Mesh        Mesh
	Region      string
	OperatorJWT string
	System      Account // of this region alone
	Control     Account
	Audit       Account
	Sealer      keyring.Sealer // the mesh's master key: secrets of signing keys
	Seeds       keyring.Sealer // seeds of tenants' accounts, which no relay can open
	CAFile      string
	CertFile    string // for servers and, towards other regions, clients
	KeyFile     string
	Home        *HomeKeys // nil unless the region is the control home

	folder string
}

// FirstStart says whether the server of this number has never opened since the region's files were made.
// Without the mark an empty store means that data were lost.
func (h *Hub) FirstStart(server int) bool { return exists(firstStart(h.folder, server)) }

// Opened takes the mark of the first start away.
func (h *Hub) Opened(server int) error {
	err := os.Remove(firstStart(h.folder, server))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fault.Wrap("identity.opened", fault.Unavailable, err)
}

func firstStart(folder string, server int) string {
	return filepath.Join(folder, "first-start-"+strconv.Itoa(server))
}

// HomeKeys are what only the control home holds: they make tenants.
type HomeKeys struct {
	Operator *issuer.Operator
	CA       *pki.Authority
}

// Relay is what a relay of one region loads.
type Relay struct {
	Mesh      Mesh
	Region    string
	CredsFile string         // of its user in CONTROL
	Sealer    keyring.Sealer // the mesh's master key
	CAFile    string
	CertFile  string // for its own server and, towards the hub, the client
	KeyFile   string
}

// AdminFiles are the authority's certificate and the operator's client certificate and key.
func AdminFiles(dir string) (ca, cert, key string) {
	return filepath.Join(dir, "pki", caFile), filepath.Join(dir, "operator", "admin.pem"), filepath.Join(dir, "operator", "admin-key.pem")
}

// StoreDir is where a region's servers keep their data.
func StoreDir(dir, region string) string { return filepath.Join(dir, "regions", region, "store") }

// The names of files that several folders hold.
const (
	caFile     = "ca.pem"
	certFile   = "tls.pem"
	keyFile    = "tls-key.pem"
	masterFile = "master.age" // seals the secrets of signing keys: hubs and relays
	seedsFile  = "seeds.age"  // seals the seeds of tenants' accounts: hubs alone
	credsFile  = "relay.creds"
	caKeyFile  = "ca-key.pem"
	homeFolder = "home" // below the hub of the control home
)

func hubFolder(dir, region string) string   { return filepath.Join(dir, "regions", region, "hub") }
func relayFolder(dir, region string) string { return filepath.Join(dir, "regions", region, "relay") }

// LoadHub reads a region's hub folder.
func LoadHub(dir, region string) (*Hub, error) {
	folder := hubFolder(dir, region)
	m, err := loadMesh(folder, region)
	if err != nil {
		return nil, err
	}
	h := &Hub{
		Mesh: m, Region: region, folder: folder,
		CAFile: filepath.Join(folder, caFile), CertFile: filepath.Join(folder, certFile), KeyFile: filepath.Join(folder, keyFile),
	}
	operator, err := read(folder, operatorKeys.token())
	if err != nil {
		return nil, err
	}
	h.OperatorJWT = string(operator)
	for keys, into := range map[keySet]*Account{systemKeys: &h.System, controlKeys: &h.Control, auditKeys: &h.Audit} {
		if *into, err = loadAccount(folder, keys); err != nil {
			return nil, err
		}
	}
	if h.Sealer, err = loadSealer(folder, masterFile); err != nil {
		return nil, err
	}
	if h.Seeds, err = loadSealer(folder, seedsFile); err != nil {
		return nil, err
	}
	if region == m.Home {
		h.Home, err = loadHome(folder, h.OperatorJWT)
	}
	return h, err
}

// LoadRelay reads a region's relay folder.
func LoadRelay(dir, region string) (*Relay, error) {
	folder := relayFolder(dir, region)
	m, err := loadMesh(folder, region)
	if err != nil {
		return nil, err
	}
	sealer, err := loadSealer(folder, masterFile)
	if err != nil {
		return nil, err
	}
	r := &Relay{
		Mesh: m, Region: region, Sealer: sealer, CredsFile: filepath.Join(folder, credsFile),
		CAFile: filepath.Join(folder, caFile), CertFile: filepath.Join(folder, certFile), KeyFile: filepath.Join(folder, keyFile),
	}
	if _, err := os.Stat(r.CredsFile); err != nil {
		return nil, missing(r.CredsFile, err)
	}
	return r, nil
}

func loadMesh(folder, region string) (Mesh, error) {
	m, found, err := readMesh(folder)
	if err != nil {
		return m, err
	}
	if !found {
		return m, fault.New("identity.load", fault.NotFound, "no_identity",
			"%s holds no identity: make the mesh here, or copy the folder from where it was made", folder)
	}
	if _, ok := m.Region(region); !ok {
		return m, fault.New("identity.load", fault.Invalid, "mesh_malformed", "%s is of a mesh without region %q", folder, region)
	}
	return m, nil
}

func loadAccount(folder string, keys keySet) (Account, error) {
	token, err := read(folder, keys.token())
	if err != nil {
		return Account{}, err
	}
	signing, err := read(folder, keys.signing())
	if err != nil {
		return Account{}, err
	}
	public, _, err := issuer.AccountOf(string(token))
	if err != nil {
		return Account{}, fault.New("identity.load", fault.Invalid, "identity_damaged", "%s: %v", filepath.Join(folder, keys.token()), err)
	}
	return Account{Name: strings.ToUpper(string(keys)), Public: public, JWT: string(token), SigningSeed: signing}, nil
}

func loadSealer(folder, name string) (keyring.Sealer, error) {
	file := filepath.Join(folder, name)
	if _, err := read(folder, name); err != nil {
		return nil, err
	}
	s, err := keyring.OpenAgeFile(file)
	if err != nil {
		return nil, fault.New("identity.load", fault.Invalid, "identity_damaged", "%s: %v", file, err)
	}
	return s, nil
}

func loadHome(folder, operatorJWT string) (*HomeKeys, error) {
	home := filepath.Join(folder, homeFolder)
	signing, err := read(home, operatorKeys.signing())
	if err != nil {
		return nil, err
	}
	operator, err := issuer.LoadOperator(operatorJWT, signing)
	if err != nil {
		return nil, fault.New("identity.load", fault.Invalid, "identity_damaged", "%s: %v", home, err)
	}
	cert, err := read(folder, caFile)
	if err != nil {
		return nil, err
	}
	key, err := read(home, caKeyFile)
	if err != nil {
		return nil, err
	}
	ca, err := pki.ParseAuthority(cert, key)
	if err != nil {
		return nil, fault.New("identity.load", fault.Invalid, "identity_damaged", "%s: %v", home, err)
	}
	return &HomeKeys{Operator: operator, CA: ca}, nil
}

// read reads a file that must be there.
func read(folder, name string) ([]byte, error) {
	file := filepath.Join(folder, name)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, missing(file, err)
	}
	return text, nil
}

func missing(file string, err error) error {
	const op = "identity.load"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New(op, fault.NotFound, "identity_incomplete", "%s is missing: restore it from a backup, or make the mesh's files again to complete them", file)
	case errors.Is(err, fs.ErrPermission):
		return fault.New(op, fault.Denied, "no_permission", "%s may not be read by this user: change its owner or run as that user", file)
	}
	return fault.Wrap(op, fault.Internal, err)
}
