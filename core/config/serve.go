package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// oneName is what a token or a target may be called: it is a part of URLs and of log lines.
var oneName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

func serveRules(s Serve, targets []Target) []rule {
	rules := []rule{
		absolute("serve", "certificate", s.Certificate), absolute("serve", "key", s.Key), absolute("serve", "client_ca", s.ClientCA),
	}
	for _, l := range s.Listen {
		rules = append(rules, rule{keys{"serve", "listen"}, !strings.HasPrefix(l, "tls:"), `listen = ["tls:0.0.0.0:7171"]; there is no plain TCP`,
			fmt.Sprintf("[serve] listen: want tls:HOST:PORT, have %s", strconv.Quote(l))})
	}
	seen := map[string]bool{}
	for i, t := range s.Tokens {
		at := keys{"serve", "token", strconv.Itoa(i)}
		rules = append(rules, named(at, t.Name, seen), role(at, t.Role),
			rule{at.with("sha256"), !sha256Hex.MatchString(t.SHA256), "remora token makes one, and prints what to paste", at.with("sha256").String() + ": want 64 hex digits"})
	}
	for i, p := range s.Peers {
		at := keys{"serve", "peer", strconv.Itoa(i)}
		rules = append(rules, rule{at.with("uid"), p.UID == "", "", at.with("uid").String() + ": want a user's name or number"}, role(at, p.Role))
	}
	for i, c := range s.Certificates {
		at := keys{"serve", "certificates", strconv.Itoa(i)}
		rules = append(rules, rule{at.with("name"), c.Name == "", "", at.with("name").String() + " is missing"}, role(at, c.Role))
	}
	seen = map[string]bool{}
	for i, t := range targets {
		at := keys{"restore", strconv.Itoa(i)}
		rules = append(rules, named(at, t.Name, seen),
			rule{at.with("target"), !filepath.IsAbs(t.Dir), "", at.with("target").String() + ": want an absolute path, have " + strconv.Quote(t.Dir)})
	}
	return rules
}

func named(at keys, name string, seen map[string]bool) rule {
	at = at.with("name")
	if seen[name] {
		return rule{at, true, "", at.String() + ": " + strconv.Quote(name) + " is there twice"}
	}
	seen[name] = true
	return rule{at, !oneName.MatchString(name), "", at.String() + ": want letters, digits, and . _ - between them, have " + strconv.Quote(name)}
}

func role(at keys, have string) rule {
	at = at.with("role")
	return rule{at, have != "read" && have != "operate" && have != "admin", "", at.String() + ": want one of read, operate, admin, have " + strconv.Quote(have)}
}
