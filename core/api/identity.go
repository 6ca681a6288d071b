package api

import (
	"net"
	"net/http"
	"strings"

	"github.com/remora-backup/remora/core/code"
)

type peerKey struct{}

// errNobody is the whole answer to who could not say who he is.
var errNobody = fail(http.StatusUnauthorized, code.Privilege, "not authorized")

// identify says who makes a request. Somebody who presents a token is who that says, or nobody.
func identify(d *door, a *access, r *http.Request) Actor {
	by := Actor{From: from(r)}
	if d.socket {
		p, _ := r.Context().Value(peerKey{}).(peer)
		by.From = "socket"
		by.Name, by.Role = a.byPeer(p)
		return by
	}
	if given := r.Header.Values("Authorization"); len(given) > 0 {
		kind, token, _ := strings.Cut(given[0], " ")
		if len(given) == 1 && strings.EqualFold(kind, "Bearer") {
			by.Name, by.Role = a.byToken(token)
		}
		return by
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		by.Name, by.Role = a.byCertificate(r.TLS.PeerCertificates[0])
	}
	return by
}

func from(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "socket"
	}
	return host
}
