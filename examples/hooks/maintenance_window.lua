-- Lets a backup lock the server only at certain hours; 22 to 6 includes midnight.
--
--   [hooks]
--   scripts = ["/etc/remora/maintenance_window.lua"]
--   [hooks.config]
--   window_from = 22           # hours, 0 to 23
--   window_to = 6              # the first hour that is outside again
--   window_zone = "Europe/Berlin"   # UTC if not set

local function inside(hour, from, to)
  if from <= to then return hour >= from and hour < to end
  return hour >= from or hour < to
end

function before_phase(e)
  if e.phase ~= "locking" then return end
  local from, to = config.window_from or 22, config.window_to or 6
  local now = time.date(e.unix, config.window_zone)
  if not inside(now.hour, from, to) then
    return false, string.format("it is %02d:%02d, the server may be locked from %02d:00 to %02d:00 only", now.hour, now.minute, from, to)
  end
end
