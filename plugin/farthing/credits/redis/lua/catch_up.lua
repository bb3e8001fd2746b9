-- catch_up(skip) -> how many are due and were looked at: those of which live holds still need what is over
-- stay due, and are skipped by the next

local skip = tonumber(argument(1))
local found = redis.call('ZRANGEBYSCORE', key('due'), '-inf', ARGV[2], 'LIMIT', skip, 200)
local still = 0
for _, id in ipairs(found) do
  local state = account(id)
  if state.due_ms and state.due_ms <= now.ms then
    still = still + 1
  end
end
commit()
return { 'ok', whole(#found), whole(still) }
