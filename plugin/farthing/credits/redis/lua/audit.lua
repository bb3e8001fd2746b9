-- audit(token, after, accounts, sessions) -> what verify.py sums, as it is at one moment:
--   the place of the hold that ended last, and {chain, settled, overdraft, day, tier} of the settled ones of those
--   that ended after a place; if they are many, of some, and nothing else;
--   {chain, session, amount} of each live hold;
--   of these accounts {id, {its fields}, {action, amount, ...} of its journal, its spending, what of it was folded};
--   of these sessions {id, held}

local after, ended, live, accounts, sessions = argument(2), {}, {}, {}, {}
commit()
redis.call('ZADD', key('auditing'), redis.call('TIME')[1] + 60, argument(1))

local closed = redis.call('ZRANGEBYSCORE', key('closed'), '(' .. after, '+inf', 'WITHSCORES', 'LIMIT', 0, 500)
for at = 1, #closed, 2 do
  local hold = load(HOLDS, closed[at])
  if hold.state == 'settled' then
    ended[#ended + 1] = texts_of(HOLDS, hold, { 'chain', 'settled', 'overdraft', 'day', 'tier' })
  end
  after = closed[at + 1]
end
if #closed == 1000 then
  return { 'ok', after, ended }
end

for at, id in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do
  live[at] = texts_of(HOLDS, load(HOLDS, id), { 'chain', 'session', 'amount' })
end
for at, id in ipairs(cjson.decode(argument(3))) do
  local state = load(ACCOUNTS, id)
  local fields = { 'limited', 'granted', 'expired', 'settled', 'held', 'lots' }
  local texts = texts_of(ACCOUNTS, state, fields)
  texts[1] = state.known and texts[1] or ''
  local lines = {}
  for _, number in ipairs(redis.call('LRANGE', key('journal', id), 0, -1)) do
    local entry = redis.call('XRANGE', key('journal'), number, number)[1]
    if entry then
      lines[#lines + 1], lines[#lines + 2] = entry[2][6], entry[2][10]
    end
  end
  local spending = redis.call('HGETALL', key('spending', id))
  local folded = redis.call('HGETALL', key('folded', id))
  accounts[at] = { id, texts, lines, spending, folded }
end
for at, id in ipairs(cjson.decode(argument(4))) do
  sessions[at] = { id, text_in(SESSIONS, load(SESSIONS, id), 'held') }
end
return { 'ok', after, ended, live, accounts, sessions }
