-- The end of a step. All that it writes is computed before the first write: a step that fails has written nothing.

local CALLS = 100 -- of each user, at least

local writes = {}

local function write(...)
  writes[#writes + 1] = { ... }
end

-- Add what a call cost to an account's spending, or to what of it was folded. Redis adds exactly, and cannot
-- overflow: an account's `settled` is more.
local function add_day(name, id, day, tier, settled, overdraft)
  local hash = key(name, id)
  write('HINCRBY', hash, day .. ' calls ' .. tier, '1')
  if settled ~= ZERO then
    write('HINCRBY', hash, day .. ' settled ' .. tier, text_of(settled))
  end
  if overdraft ~= ZERO then
    write('HINCRBY', hash, day .. ' overdraft ' .. tier, text_of(overdraft))
  end
end

-- Write a record if it has changed, and return of the fields that differ what they were.
local function write_record(kind, record)
  local text, was = changed(kind, record)
  if text then
    write('SET', key(kind.name, record.id), text)
  end
  return was
end

local function write_account(state)
  local new = not state.was[1]
  local was = write_record(ACCOUNTS, state)
  if not was then
    return
  end
  if new then
    write('ZADD', key('accounts'), 0, state.id)
  end
  if was.due_ms and state.due_ms then
    write('ZADD', key('due'), whole(state.due_ms), state.id)
  elseif was.due_ms then
    write('ZREM', key('due'), state.id)
  end
end

local function write_hold(hold)
  local state = hold.was[1]
  if not write_record(HOLDS, hold) then
    return
  end
  if hold.state == 'held' then
    write('ZADD', key('leases'), whole(hold.expires_ms), hold.id)
    if state and state ~= 'held' then
      write('ZREM', key('closed'), hold.id)
    end
    return
  end
  if state == 'held' then
    write('ZREM', key('leases'), hold.id)
  end
  write('CLOSED', key('closed'), hold.id)
  if hold.state == 'settled' then
    write('CALLED', key('calls', hold.user), hold.id)
  end
end

local function write_session(session)
  if not session.started_ms and session.held == ZERO then
    write('DEL', key('session', session.id))
    return
  end
  local was = write_record(SESSIONS, session)
  if not was or not session.started_ms then
    return
  end
  if was.user and was.user ~= '' then
    write('ZREM', key('sessions', was.user), session.id)
  end
  if was.last_ms or was.user then
    local last = whole(session.last_ms)
    write('ZADD', key('sessions'), last, session.id)
    write('ZADD', key('sessions', session.user), last, session.id)
  end
end

local function write_grant(grant)
  local account_id = grant.was[1]
  if account_id and (grant.gone or account_id ~= grant.account) then
    write('SREM', key('grants', account_id), grant.id)
  end
  if grant.gone then
    write('DEL', key('grant', grant.id))
    write('ZREM', key('grants'), grant.id)
  elseif write_record(GRANTS, grant) then
    write('ZADD', key('grants'), 0, grant.id)
    write('SADD', key('grants', grant.account), grant.id)
  end
end

local function write_journal()
  if #journal == 0 then
    return
  end
  local number = redis.call('XLEN', key('journal'))
  for at, entry in ipairs(journal) do
    local id = whole(number + at)
    local target, actor, action, amount, month, ref, reason = unpack(entry)
    write('XADD', key('journal'), id .. '-0', 'at_ms', ARGV[2], 'actor', actor, 'action', action,
      'target', target, 'amount', amount, 'month', month, 'ref', ref, 'reason', reason)
    write('RPUSH', key('journal', target), id)
  end
end

-- Fold a hold that has ended into the totals, and forget it.
local function forget(hold)
  if hold.state == 'settled' then
    for _, id in ipairs(chain_of(hold.chain)) do
      add_day('folded', id, hold.day, hold.tier, hold.settled, hold.overdraft)
    end
    write('LREM', key('calls', hold.user), 0, hold.id)
  end
  hold.known = false
  write('DEL', key('hold', hold.id))
  write('ZREM', key('closed'), hold.id)
end

-- Writes that need the answer of another.
local following = {
  CLOSED = function(closed, id)
    redis.call('ZADD', closed, redis.call('INCR', key('closings')), id)
  end,
  CALLED = function(calls, id)
    if redis.call('LPUSH', calls, id) > 2 * CALLS then
      redis.call('LTRIM', calls, 0, CALLS - 1)
    end
  end,
}

-- In a cluster a slot may be moving to another node just now, key by key. Fail before the first write, then, if one of
-- the keys is not here.
local function reach_all()
  redis.call('EXISTS', key('closings'))
  for _, command in ipairs(writes) do
    redis.call('EXISTS', command[2])
  end
end

local function commit()
  for _, state in pairs(ACCOUNTS.loaded) do
    write_account(state)
  end
  for _, hold in pairs(HOLDS.loaded) do
    write_hold(hold)
  end
  for _, session in pairs(SESSIONS.loaded) do
    if session.known then
      write_session(session)
    end
  end
  for _, grant in pairs(GRANTS.loaded) do
    write_grant(grant)
  end
  write_journal()
  if IN_CLUSTER and #writes > 0 then
    reach_all()
  end
  for _, command in ipairs(writes) do
    local follow = following[command[1]]
    if follow then
      follow(command[2], command[3])
    else
      redis.call(unpack(command))
    end
  end
end
