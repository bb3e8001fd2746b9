-- runs(since_ms, user, limit) -> runs

local user, found = argument(2), {}
local index = user == '' and key('sessions') or key('sessions', user)
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', index, '+inf', argument(1), 'LIMIT', 0, argument(3))) do
  found[#found + 1] = run_of(load(SESSIONS, id), true)
end
commit()
return { 'ok', found }
