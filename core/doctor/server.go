package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/datadir"
	"github.com/remora-backup/remora/core/schedule"
	"github.com/remora-backup/remora/core/server"
)

// reach connects, which also fixes the settings of a session and reads them back.
func reach(ctx context.Context, p *patient) (text string, err error) {
	if p.server, err = p.Connect(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%v, %v; its sessions have the settings that they need", p.server.Version(), p.server.First()), nil
}

func privileges(ctx context.Context, p *patient) (string, error) {
	if p.server == nil {
		return "", needs("server")
	}
	missing, err := p.server.CheckPrivileges(ctx)
	if err != nil {
		return "", err
	}
	if err := server.Refused(missing); err != nil {
		return "", err
	}
	if len(missing) == 0 {
		return "all that a backup can use", nil
	}
	var names, grants []string
	for _, m := range missing {
		names, grants = append(names, fmt.Sprintf("%s (%s)", m.Privilege, m.Purpose)), append(grants, m.Grant+";")
	}
	return "", worried(strings.Join(grants, " "), "all that a backup must have; better with %s", strings.Join(names, ", "))
}

func serverSettings(ctx context.Context, p *patient) (string, error) {
	if p.server == nil {
		return "", needs("server")
	}
	facts, err := p.server.Preflight(ctx)
	if err != nil {
		return "", err
	}
	p.facts = facts
	text := "redo logging is on, performance_schema is on"
	if facts.Keyring != "" {
		text += ", keyring " + facts.Keyring
	}
	return text, nil
}

func role(ctx context.Context, p *patient) (string, error) {
	if p.server == nil {
		return "", needs("server")
	}
	is, err := p.server.Role(ctx)
	on := p.Settings.Schedule.On
	switch {
	case on == schedule.Any && err != nil:
		return "backups are taken whatever the server is", nil
	case err != nil:
		return "", err
	case p.Settings.Schedule.Fallback == 0 && !fits(on, is):
		return fmt.Sprintf("%s: scheduled backups are for a %s, and never taken here", is.Text, on), nil
	case !fits(on, is):
		return fmt.Sprintf("%s: scheduled backups are for a %s, and taken here if the group had none for %s", is.Text, on, long(p.Settings.Schedule.Fallback)), nil
	}
	return is.Text + ": scheduled backups are taken here", nil
}

func fits(on string, is server.Role) bool {
	return on == schedule.Any || on == schedule.Replica && is.Replica || on == schedule.Primary && is.Primary
}

// dataDir makes sure that this process sees the files that the server sees.
func dataDir(_ context.Context, p *patient) (string, error) {
	if p.facts.DataDir == "" {
		return "", needs("server settings")
	}
	dir, err := datadir.New(p.facts)
	if err != nil {
		return "", err
	}
	if err := dir.Check(p.facts.UUID); err != nil {
		return "", code.Default(code.Usage, err)
	}
	places := []string{p.facts.RedoDir(), p.facts.UndoDir()}
	if p.facts.LogBin {
		places = append(places, filepath.Dir(p.facts.LogBinBasename))
	}
	for _, place := range places {
		if _, err := os.ReadDir(place); errors.Is(err, os.ErrNotExist) {
			return "", code.Hint(code.Usage, "mount "+place+" where the server sees it", "the server keeps files in %s, which is not there: %w", place, err)
		} else if err != nil {
			return "", datadir.Unreadable(err)
		}
	}
	p.dir = dir
	places = append(places, p.facts.DataDir)
	slices.Sort(places)
	return strings.Join(slices.Compact(places), ", ") + " can be read", nil
}

// tablespaces finds the file of each; those of DATA DIRECTORY and CREATE TABLESPACE lie anywhere.
func tablespaces(ctx context.Context, p *patient) (string, error) {
	if p.dir == nil {
		return "", needs("data directory")
	}
	listed, err := p.server.TablespacePaths(ctx)
	if err != nil {
		return "", err
	}
	found := 0
	for _, place := range p.dir.Places(listed) {
		f, err := p.dir.Find(place)
		switch {
		case errors.Is(err, datadir.ErrAway):
			if _, gone := os.Stat(filepath.Dir(p.dir.Full(place.Path))); gone != nil {
				return "", code.Hint(code.Usage, "mount its directory where the server sees it", "the tablespace %s: %w", place.Path, gone)
			}
			continue // DDL of this very moment
		case err != nil:
			return "", err
		}
		found++
		p.data += f.Size
	}
	return fmt.Sprintf("%d files, %s, where the server sees them", found, size(p.data)), nil
}

// engines asks for what a backup does not hold. What files alone tell of it is seen by the backup.
func engines(_ context.Context, p *patient) (string, error) {
	if p.facts.DataDir == "" {
		return "", needs("server settings")
	}
	left := func(engine string) bool {
		return slices.ContainsFunc(p.Settings.Backup.ExcludeEngines, func(x string) bool { return strings.EqualFold(x, engine) })
	}
	for _, t := range p.facts.Others.Tables {
		if server.KindOfEngine(t.Engine) == server.EngineForeign && !left(t.Engine) {
			return "", code.Hint(code.Version, fmt.Sprintf("take its tables by other means, and: [backup] exclude_engines = [%q]", t.Engine), "the data of %v are not copied", t)
		}
	}
	if !p.facts.Others.Whole && len(p.facts.Others.Foreign) > 0 {
		return "", worried("GRANT SHOW VIEW ON *.*, or see that no table is theirs", "the server has the engines %s, and which tables are theirs may not be seen",
			strings.Join(p.facts.Others.Foreign, ", "))
	}
	if n := len(p.facts.Others.Tables); n > 0 {
		return fmt.Sprintf("%d tables of other engines, which are copied, those in memory without rows", n), nil
	}
	return "InnoDB", nil
}

// binlog compares how long binary logs are kept with how long a backup is the newest one.
func binlog(ctx context.Context, p *patient) (string, error) {
	if p.facts.DataDir == "" {
		return "", needs("server settings")
	}
	if !p.facts.LogBin {
		return "", worried("log_bin, to be able to restore to a point in time", "the binary log is off: what happens after a backup cannot be replayed")
	}
	keep, err := p.server.BinlogExpiry(ctx)
	if err != nil {
		return "", err
	}
	every := interval(p.Settings.Schedule)
	if keep > 0 && every > 0 && keep < 2*every {
		return "", worried("raise binlog_expire_logs_seconds", "binary logs are kept for %s and backups come every %s: one that fails leaves a gap", long(keep), long(every))
	}
	if keep == 0 {
		return "on, its files are kept until they are purged by hand", nil
	}
	return fmt.Sprintf("on, its files are kept for %s", long(keep)), nil
}

// interval is the longest time between two of the next backups, 0 without a schedule.
func interval(s schedule.Settings) (longest time.Duration) {
	s.Verify, s.Spread = "", 0
	lines, err := schedule.New(s, "")
	if err != nil {
		return 0
	}
	next := lines.Next(time.Now())
	for range 10 {
		if len(next) == 0 {
			break
		}
		at := next[0].Time
		if next = lines.Next(at); len(next) > 0 {
			longest = max(longest, next[0].Time.Sub(at))
		}
	}
	return longest
}

// sample is for how long the rate of the redo is measured; soon is the time to fill it that worries.
const (
	sample = 2 * time.Second
	soon   = 10 * time.Minute
)

// redo compares how much redo the server keeps with how fast it writes it.
func redo(ctx context.Context, p *patient) (string, error) {
	if p.facts.DataDir == "" {
		return "", needs("server settings")
	}
	before, _, err := p.server.RedoNow(ctx)
	if err != nil {
		return "", err
	}
	start := time.Now()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-time.After(sample):
	}
	after, capacity, err := p.server.RedoNow(ctx)
	if err != nil {
		return "", err
	}
	rate := float64(after-before) / time.Since(start).Seconds()
	text := fmt.Sprintf("%s, at the moment %s/s are written", size(int64(capacity)), size(int64(rate)))
	if rate*soon.Seconds() > float64(capacity) {
		return "", worried("raise innodb_redo_log_capacity", "%s: full in %v, while a backup reads all data", text, time.Duration(float64(capacity)/rate*float64(time.Second)).Round(time.Second))
	}
	return text, nil
}
