-- Posts to a Slack-style webhook when an operation fails or is cancelled, and when a
-- restore is done.
--
--   [hooks]
--   scripts = ["/etc/remora/slack_alert.lua"]
--   [hooks.config]
--   slack_url = "https://hooks.slack.com/services/..."

local function message(e)
  if e.state == "error" then
    return string.format(":red_circle: %s %s failed: %s", e.operation, e.id, e.error)
  elseif e.state == "cancelled" then
    return string.format(":warning: %s %s was cancelled: %s", e.operation, e.id, e.error)
  elseif e.operation == "restore" then
    return string.format(":white_check_mark: restore %s is done after %d s", e.id, e.duration)
  end
end

function on_end(e)
  local text = message(e)
  if not text then return end
  if not config.slack_url then error("slack_url is missing in [hooks.config]") end
  local answer, why = http.post(config.slack_url, { text = text })
  if not answer then error("no message was sent: " .. why) end
  if answer.status ~= 200 then error("no message was sent: status " .. answer.status) end
end
