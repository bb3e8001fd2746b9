-- Accounts, holds and sessions, as the steps use them.

-- Accounts are brought to the present when a step first looks at them

local function account_as_it_was(id)
  local state = load(ACCOUNTS, id)
  if not state.known and rawget(state, 'limited') == nil then
    state.limited, state.roll_over = string.sub(id, 1, 5) == 'user:', ZERO
  end
  return state
end

local function account(id)
  local state = account_as_it_was(id)
  if not state.advanced then
    state.advanced = true
    state:advance(now)
  end
  return state
end

-- Make an account known; what is shown of a user and a key is what was given last.
local function name(id, department, user)
  local state = account(id)
  state.known = true
  local of_key = string.sub(id, 1, 4) == 'key:'
  if department ~= '' and (of_key or string.sub(id, 1, 5) == 'user:') then
    state.department = department
  end
  if user ~= '' and of_key then
    state.user = user
  end
  return state
end

local function take_back(grant, by)
  account(grant.account):grant(grant.id, ZERO - grant.amount, grant.expires_ms, now, by)
end

-- Holds

local chains = {}

-- The accounts that a hold is held on.
local function chain_of(text)
  chains[text] = chains[text] or LIST.read(text)
  return chains[text]
end

-- Add an amount to what is held, or take it off (of a negative one), on a hold's chain and its session.
local function hold_on(hold, amount)
  if amount == ZERO then
    return
  end
  for _, id in ipairs(chain_of(hold.chain)) do
    local state = account_as_it_was(id)
    state.held = state.held + amount
  end
  if hold.session ~= '' then
    local session = load(SESSIONS, hold.session)
    session.held, session.known = session.held + amount, true
  end
end

local function close(hold, state)
  hold.state, hold.closed_ms, hold.known = state, now.ms, true
end

-- Expire holds whose lease has ended; return whether there may be more of them.
local function expire_overdue()
  local ids = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', ARGV[2], 'LIMIT', 0, BATCH)
  for _, id in ipairs(ids) do
    local hold = load(HOLDS, id)
    hold_on(hold, ZERO - hold.amount)
    close(hold, 'expired')
  end
  return #ids == BATCH
end

-- Return what a session's cost cap leaves for new holds; nothing if it has none or never began.
local function session_left(id)
  local session = id ~= '' and load(SESSIONS, id)
  return session and session.started_ms and session.max_cost and session.max_cost - session.settled - session.held
end

local function fits(chain, session, amount)
  local left = session_left(session)
  local enough = amount == ZERO or not left or amount <= left
  for _, id in ipairs(chain) do
    enough = account(id):fits(amount) and enough
  end
  return enough
end

-- The arguments of a step's own

local function argument(number)
  return ARGV[6 + number]
end

-- Who pays, of every step that has a payer: its first four arguments.
local function payer()
  local chain = argument(3)
  return {
    user = argument(1),
    department = argument(2),
    chain = chain,
    accounts = chain_of(chain),
    session = argument(4),
  }
end

local function name_all(who)
  for _, id in ipairs(who.accounts) do
    name(id, who.department, who.user)
  end
end

-- An id is of one user: nobody else's call may be put under it.
local function of_another(hold, who)
  return hold.known and hold.user ~= '' and hold.user ~= who.user
end
