-- Tells an HTTP endpoint about every phase, every tenth percent of a prepare, and the end.

local function tell(text)
  local answer, why = http.post(config.url, { text = text })
  if not answer then error("nobody was told: " .. why) end
end

function on_phase(e)
  tell(e.operation .. " " .. e.id .. ": " .. e.phase)
end

function on_progress(e)
  if e.percent and e.percent % 10 == 0 then
    tell(e.operation .. " " .. e.id .. ": prepared " .. e.percent .. " %")
  end
end

function on_end(e)
  tell(e.operation .. " " .. e.id .. " ended: " .. e.state)
end
