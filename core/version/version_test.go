package version_test

import (
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/version"
)

func TestParseBanner(t *testing.T) {
	for _, c := range []struct{ banner, version, flavour string }{
		{"/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4-2", version.MySQL},
		{"/usr/sbin/mysqld  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", "8.0.36", version.MySQL},
		{"mysqld  Ver 8.0.36-0ubuntu0.22.04.1 for Linux on x86_64 ((Ubuntu))", "8.0.36-0ubuntu0.22.04.1", version.MySQL},
		{"mysqld  Ver 8.4.3-3 for Linux on x86_64 (Percona Server (GPL), Release 3)", "8.4.3-3", version.Percona},
		{"mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", "10.11.6-MariaDB-0+deb12u1", version.MariaDB},
	} {
		v, err := version.ParseBanner(c.banner + "\n")
		if err != nil {
			t.Errorf("ParseBanner(%q): %v", c.banner, err)
		}
		if v.String() != c.version || v.Flavour != c.flavour {
			t.Errorf("ParseBanner(%q) = %v of %s, want %s of %s", c.banner, v, v.Flavour, c.version, c.flavour)
		}
	}
	for _, bad := range []string{"", "mysqld", "mysqld Ver x.y.z", "mysqld Ver 8.0 for Linux"} {
		if v, err := version.ParseBanner(bad); err == nil {
			t.Errorf("ParseBanner(%q) = %v, want an error", bad, v)
		}
	}
}

func TestCanOpen(t *testing.T) {
	for _, c := range []struct {
		server, data string
		want         string // part of the error, "" for yes
	}{
		{"9.7.4", "9.7.4", ""},
		{"9.7.4", "9.7.0", ""},
		{"9.7.0", "9.7.4", "older"},
		{"9.7.4", "8.4.3", "series 8.4"},
		{"9.7.4", "9.6.0", "series 9.6"},
		{"8.4.3", "9.7.4", "series 9.7"},
		{"8.4.3-3 Percona", "8.4.3", ""},
		{"8.0.36", "8.0.36-log", ""},
		{"8.0.9", "8.0.36", "older"},
		{"8.0.36", "10.11.6-MariaDB", "MariaDB"},
		{"10.11.6-MariaDB", "10.11.6-MariaDB", "MariaDB"},
	} {
		err := parse(t, c.server).CanOpen(parse(t, c.data))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s opening data of %s: got %v, want %q", c.server, c.data, err, c.want)
		}
	}
}

func TestSupported(t *testing.T) {
	for s, want := range map[string]bool{
		"8.0.30": true, "8.0.29": false, "5.7.44-log": false, "8.4.0": true, "9.7.4-2": true, "10.11.6-MariaDB": false,
	} {
		if err := parse(t, s).Supported(); (err == nil) != want {
			t.Errorf("%s supported: got %v, want %v", s, err, want)
		}
	}
}

func parse(t *testing.T, s string) version.Version {
	t.Helper()
	v, err := version.Parse(s, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
