package hub

import (
	"fmt"
	"path/filepath"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/accounts/issuer"
	"github.com/weft-mesh/weft/streams/broker"
	"github.com/weft-mesh/weft/streams/subject"
)

// linkSpec is one account's side of its links.
type linkSpec struct {
	name, account string
	signing       []byte
	families      []grant.Family
}

// linkSet is the links of one account to the peers that this region solicits. The reconcile loop changes it;
// links is read under Hub.mu.
type linkSet struct {
	spec  linkSpec
	links []broker.Link
	made  map[string]minting // by peer
}

// minting is for which live origins a link's user was made. A user covers the live epoch and the next of both
// sides, so a link goes on while its file is written anew for its next connect; when an origin is two epochs
// on, the file gets another name, which makes the broker connect anew.
type minting struct {
	file    [2]subject.Origin // that its name says: of this region and of the peer
	content [2]subject.Origin
	path    string
}

func newLinkSet(s linkSpec) *linkSet { return &linkSet{spec: s, made: map[string]minting{}} }

// mint brings the users of an account's links up to date with the live origins. Doing it again costs nothing.
func (h *Hub) mint(set *linkSet) error {
	var out []broker.Link
	for _, p := range h.opts.Peers {
		if !h.opts.solicits(p.Name) {
			continue
		}
		live := [2]subject.Origin{h.Origin(), h.originOf(p.Name)}
		m, known := set.made[p.Name]
		if !known || !covers(m.file, live) {
			m = minting{file: live, path: filepath.Join(h.opts.StoreDir, "links", fmt.Sprintf("%s-%s-%s.creds", set.spec.name, live[0], live[1]))}
		}
		if m.content != live {
			token, seed, err := issuer.User(issuer.UserSpec{
				Name: "leaf-" + live[0].Region + "-" + p.Name, Account: set.spec.account, SigningSeed: set.spec.signing,
				Permissions: grant.Leaf(live[0], live[1], set.spec.families...),
			})
			if err != nil {
				return err
			}
			if err := issuer.WriteCreds(m.path, token, seed); err != nil {
				return err
			}
			m.content = live
		}
		set.made[p.Name] = m
		out = append(out, broker.Link{Account: set.spec.account, URLs: p.Leaf, Credentials: m.path})
	}
	h.mu.Lock()
	set.links = out
	h.mu.Unlock()
	return nil
}

// covers says whether a user made for some live origins still is enough.
func covers(made, live [2]subject.Origin) bool {
	return live[0].Epoch <= made[0].Epoch+1 && live[1].Epoch <= made[1].Epoch+1
}
