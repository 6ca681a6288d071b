package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

// Access says who may do what. It can be changed while the server works.
type Access struct {
	Tokens       []Token
	Certificates []Certificate
	Peers        []Peer
	AllowedHosts []string // names under which a proxy passes requests on
	Delete       bool     // an admin may delete backups
}

// Token is a bearer token, known by its digest only.
type Token struct {
	Name   string
	SHA256 string // of the token, 64 hex digits
	Role   Role
}

// Certificate is a client certificate, signed by the CA of the listener.
type Certificate struct {
	Name string // its common name, or one of its DNS names, addresses of mail or URIs
	Role Role
}

// Peer is a user of this host at the other end of the socket. Our own user and root are admin.
type Peer struct {
	User string // name or uid
	Role Role
}

// access is an Access that was checked.
type access struct {
	tokens  []token
	certs   []Certificate
	peers   map[uint32]Role
	hosts   []string
	deletes bool
}

type token struct {
	name   string
	digest [sha256.Size]byte
	role   Role
}

// check refuses what could not work or would let in somebody who is not meant.
func (a Access) check() (*access, error) {
	c := &access{peers: map[uint32]Role{}, deletes: a.Delete}
	names := map[string]bool{}
	for _, t := range a.Tokens {
		digest, err := hex.DecodeString(t.SHA256)
		switch {
		case t.Name == "" || names[t.Name]:
			return nil, code.New(code.Usage, "[[serve.token]] name %q: each token has a name of its own", t.Name)
		case err != nil || len(digest) != sha256.Size:
			return nil, code.Hint(code.Usage, "remora token makes one, and prints what to paste", "[[serve.token]] %s: sha256 is not 64 hex digits", t.Name)
		case t.Role < Read || t.Role > Admin:
			return nil, code.New(code.Usage, "[[serve.token]] %s has no role", t.Name)
		}
		names[t.Name] = true
		c.tokens = append(c.tokens, token{t.Name, [sha256.Size]byte(digest), t.Role})
	}
	for _, cert := range a.Certificates {
		if cert.Name == "" || cert.Role < Read || cert.Role > Admin {
			return nil, code.New(code.Usage, "[[serve.certificates]] %q: want a name and a role", cert.Name)
		}
		c.certs = append(c.certs, cert)
	}
	for _, p := range a.Peers {
		uid, err := uidOf(p.User)
		if err != nil {
			return nil, code.New(code.Usage, "[[serve.peer]] uid %q: %w", p.User, err)
		}
		if p.Role < Read || p.Role > Admin {
			return nil, code.New(code.Usage, "[[serve.peer]] %s has no role", p.User)
		}
		c.peers[uid] = p.Role
	}
	for _, h := range a.AllowedHosts {
		if h == "" || strings.ContainsAny(h, "/*@ ") {
			return nil, code.New(code.Usage, "[serve] allowed_hosts: %q is not a host name", h)
		}
		c.hosts = append(c.hosts, hostOf(h))
	}
	return c, nil
}

func uidOf(name string) (uint32, error) {
	u, err := user.Lookup(name)
	if err == nil {
		name = u.Uid
	}
	uid, numeric := strconv.ParseUint(name, 10, 32)
	if numeric != nil {
		return 0, err
	}
	return uint32(uid), nil
}

// shortest is the length of a token of 128 bits in base64: nothing shorter is let in, whatever
// was configured.
const shortest = 22

// byToken compares with all tokens, in a time that says nothing of any of them.
func (a *access) byToken(given string) (name string, role Role) {
	digest := sha256.Sum256([]byte(given))
	for _, t := range a.tokens {
		if subtle.ConstantTimeCompare(digest[:], t.digest[:]) == 1 {
			name, role = t.name, t.role
		}
	}
	if len(given) < shortest {
		return "", Nobody
	}
	return name, role
}

// byCertificate takes the first of the configured names that the certificate has. That it was
// signed by the CA was seen by the handshake.
func (a *access) byCertificate(c *x509.Certificate) (name string, role Role) {
	names := append([]string{c.Subject.CommonName}, c.DNSNames...)
	names = append(names, c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	for _, known := range a.certs {
		if slices.Contains(names, known.Name) {
			return known.Name, known.Role
		}
	}
	return "", Nobody
}

// byPeer knows the users of this host.
func (a *access) byPeer(p peer) (name string, role Role) {
	switch {
	case !p.known:
		return "", Nobody
	case p.uid == 0 || int(p.uid) == os.Geteuid():
		return p.name(), Admin
	}
	return p.name(), a.peers[p.uid]
}
