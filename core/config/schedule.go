package config

import (
	"fmt"
	"strconv"
	"time"

	"github.com/remora-backup/remora/core/schedule"
)

// longestSpread keeps a run on the day for which it is configured.
const longestSpread = 24 * time.Hour

func scheduleRules(s schedule.Settings) []rule {
	rules := []rule{
		oneOf("schedule", "on", s.On, schedule.Replica, schedule.Primary, schedule.Any),
		{keys{"schedule", "spread"}, s.Spread > longestSpread, "", fmt.Sprintf("[schedule] spread: want at most %v, have %v", longestSpread, s.Spread)},
	}
	for _, l := range []struct{ key, text string }{{"backup", s.Backup}, {"verify", s.Verify}} {
		if err := schedule.CheckLine(l.text); err != nil {
			at := keys{"schedule", l.key}
			rules = append(rules, rule{at, true, `want a line of cron, such as "CRON_TZ=Europe/Berlin 15 2 * * *"`,
				fmt.Sprintf("%v: %v, in %s", at, err, strconv.Quote(l.text))})
		}
	}
	for _, l := range []struct{ key, text string }{{"drill", s.Drill}, {"prune", s.Prune}} {
		at := keys{"schedule", l.key}
		rules = append(rules, rule{at, l.text != "", "leave the line out", fmt.Sprintf("%v: this version of remora has no %s", at, l.key)})
	}
	return rules
}
