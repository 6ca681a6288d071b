-- Sends one notification when nothing moved for so many minutes (10 if not set).
--
--   [hooks]
--   scripts = ["/etc/remora/stall_detector.lua"]
--   [hooks.config]
--   stall_minutes = 10
--
-- on_stall comes again and again while nothing moves, about once a minute. A script
-- remembers nothing, so "once" means: in the minute in which the limit is reached.

function on_stall(e)
  local limit = (config.stall_minutes or 10) * 60
  metrics.gauge("backup_idle_seconds", e.idle_seconds, { operation = e.operation })
  if e.idle_seconds >= limit and e.idle_seconds < limit + 60 then
    notify.send({
      severity = "error",
      text = string.format("%s %s: nothing moved in %s for %d minutes", e.operation, e.id, e.phase, e.idle_seconds / 60),
    })
  end
end

function on_phase(e)
  metrics.gauge("backup_idle_seconds", 0, { operation = e.operation })
end
