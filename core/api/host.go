package api

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// hostOf is the name in a Host header, without port, brackets, final dot or zone.
func hostOf(header string) string {
	host := header
	if h, _, err := net.SplitHostPort(header); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// ourHost reports whether a request meant us by that name. A page of somebody else's whose
// name was made to point here (DNS rebinding) comes with its own name.
func (d *door) ourHost(r *http.Request, host string, allowed []string) bool {
	if host == "localhost" || slices.Contains(allowed, host) {
		return true
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback() || a.Unmap() == localAddr(r)
	}
	if d.socket {
		return host == "remora"
	}
	return d.certified != nil && d.certified(host)
}

// localAddr is the address at which the request arrived.
func localAddr(r *http.Request) netip.Addr {
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}

// foreign reports whether a page that is not ours sent the request: no answer is for it.
func (d *door) foreign(r *http.Request, allowed []string) bool {
	if s := r.Header.Get("Sec-Fetch-Site"); s != "" && s != "same-origin" && s != "none" {
		return true
	}
	if len(r.Header.Values("Origin")) == 0 {
		return false
	}
	u, err := url.Parse(r.Header.Get("Origin"))
	return err != nil || !d.ourHost(r, hostOf(u.Host), allowed)
}

// secretWords are what people call a token in a query.
var secretWords = []string{"token", "access_token", "api_key", "apikey", "key", "auth", "authorization", "bearer", "password", "secret"}

// tokenInURL: it would stand in logs, histories and proxies.
func tokenInURL(u *url.URL) bool {
	for name := range u.Query() {
		if slices.Contains(secretWords, strings.ToLower(name)) {
			return true
		}
	}
	return false
}
