-- prune(before_ms, limit) -> how many holds and sessions were forgotten

local before_ms, left = tonumber(argument(1)), tonumber(argument(2))
local limit = left
redis.call('ZREMRANGEBYSCORE', key('auditing'), '-inf', redis.call('TIME')[1])
if redis.call('ZCARD', key('auditing')) > 0 then
  commit()
  return { 'ok', '0' }
end
-- They lie in the order they ended, but for a clock that jumped: look past some that ended "later".
for _, id in ipairs(redis.call('ZRANGE', key('closed'), 0, 4 * limit + 100)) do
  if left == 0 then
    break
  end
  local hold = load(HOLDS, id)
  if hold.state ~= 'held' and hold.closed_ms < before_ms then
    left = left - 1
    forget(hold)
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('sessions'), '-inf', '(' .. argument(1), 'LIMIT', 0, 4 * left)) do
  local session = load(SESSIONS, id)
  if left > 0 and session.held == ZERO then
    left = left - 1
    session.known = false
    write('DEL', key('session', id))
    write('ZREM', key('sessions'), id)
    write('ZREM', key('sessions', session.user), id)
  end
end
commit()
return { 'ok', whole(limit - left) }
