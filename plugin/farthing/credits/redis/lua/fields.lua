-- What Redis keeps. Every key begins with the tag of KEYS[1], `{farthing}:`, so that all are in one slot of a
-- cluster. KEYS[1] alone is declared: a step may have to expire anybody's hold, so which other keys it needs is known
-- only while it runs. Records are JSON lists of texts, in the order of their fields below.
--
--   store                  the store's id, made by `farthing credits init`; without it nothing is answered
--   account:<id>           record of an account
--   accounts               sorted set of the known accounts' ids, by text
--   due                    sorted set of accounts, by when something of theirs expires next
--   grant:<id>             record of a grant;      grants: sorted set of their ids, by text
--   grants:<account>       set of the ids of an account's grants
--   hold:<id>              record of a hold, in whatever state
--   leases                 sorted set of the live holds, by the end of their lease
--   closed                 sorted set of the others, in the order they ended;      closings: its counter
--   calls:<user>           list of the ids of a user's latest settled calls, the newest first
--   spending:<account>     hash: "<day> <settled, overdraft or calls> <tier>" to how much
--   folded:<account>       the same, of the holds that were pruned
--   session:<id>           record of a session's run; without `started_ms` if it holds but was never entered
--   sessions, sessions:<user>      sorted sets of the runs, by their last call
--   journal                stream, "<n>-0" the nth entry;      journal:<target>: list of its entries' numbers
--   bucket:<id>            hash: level, at_ms
--   auditing               sorted set of who reads for `verify`, by when they give up: nothing is pruned then

local PREFIX = string.sub(KEYS[1], 1, -6)
local BATCH = 1000

local now = {
  ms = tonumber(ARGV[2]),
  day = ARGV[3],
  month = ARGV[4],
  month_ends_ms = tonumber(ARGV[5]),
}

local IN_CLUSTER = ARGV[6] == '1'

local function key(name, id)
  if id then
    return PREFIX .. name .. ':' .. id
  end
  return PREFIX .. name
end

-- How a field is read and written, and what it is where there is none. Nothing is '' in Redis, false here.

local function whole(number)
  return string.format('%.0f', number)
end

local function same(text)
  return text
end

local TEXT = { read = same, write = same, default = '' }
local MONEY = { read = amount_of, write = text_of, default = '0' }
local NUMBER = { read = tonumber, write = whole, default = '0' }
local MAYBE_MONEY = {
  read = function(text)
    return text ~= '' and amount_of(text)
  end,
  write = function(amount)
    return amount and text_of(amount) or ''
  end,
  default = '',
}
local MAYBE_NUMBER = {
  read = function(text)
    return tonumber(text) or false
  end,
  write = function(number)
    return number and whole(number) or ''
  end,
  default = '',
}
local FLAG = {
  read = function(text)
    return text == '1'
  end,
  write = function(flag)
    return flag and '1' or '0'
  end,
  default = '0',
}
local LIST = {
  read = function(text)
    return text == '' and {} or cjson.decode(text)
  end,
  write = function(list)
    return #list == 0 and '' or cjson.encode(list)
  end,
  default = '',
}
local LOTS = {
  read = function(text)
    local lots = LIST.read(text)
    for at, lot in ipairs(lots) do
      lots[at] = { grant_id = lot[1], remaining = amount_of(lot[2]), expires_ms = MAYBE_NUMBER.read(lot[3]) }
    end
    return lots
  end,
  write = function(lots)
    local rows = {}
    for at, lot in ipairs(lots) do
      rows[at] = { lot.grant_id, text_of(lot.remaining), MAYBE_NUMBER.write(lot.expires_ms) }
    end
    return LIST.write(rows)
  end,
  default = '',
}

local TYPES = {
  limited = FLAG,
  granted = MONEY,
  expired = MONEY,
  settled = MONEY,
  held = MONEY,
  overdraft = MONEY,
  base = MONEY,
  amount = MONEY,
  monthly = MAYBE_MONEY,
  roll_over = MAYBE_MONEY,
  max_cost = MAYBE_MONEY,
  warned = NUMBER,
  steps = NUMBER,
  max_steps = MAYBE_NUMBER,
  due_ms = MAYBE_NUMBER,
  expires_ms = MAYBE_NUMBER,
  closed_ms = MAYBE_NUMBER,
  started_ms = MAYBE_NUMBER,
  last_ms = MAYBE_NUMBER,
  marks = LIST,
  lots = LOTS,
}

-- The kinds of records, each with its fields: of accounts those of State in account.py, of sessions those of Run.

local ACCOUNTS = { name = 'account', loaded = {}, methods = State }
ACCOUNTS.fields = {
  'limited',
  'granted',
  'expired',
  'settled',
  'held',
  'overdraft',
  'monthly',
  'roll_over',
  'month',
  'base',
  'warned',
  'due_ms',
  'lots',
  'department',
  'user',
}
local HOLDS = { name = 'hold', loaded = {}, methods = {} }
HOLDS.fields = {
  'state', -- held, settled, released or expired
  'user',
  'chain', -- the accounts it is held on, as JSON
  'session',
  'amount',
  'expires_ms',
  'closed_ms',
  'settled',
  'overdraft',
  'day',
  'tier',
  'model',
  'grade',
  'kind',
}
local SESSIONS = { name = 'session', loaded = {}, methods = {} }
SESSIONS.fields = {
  'user',
  'department',
  'key_hash',
  'started_ms',
  'last_ms',
  'steps',
  'settled',
  'held',
  'max_steps',
  'max_cost',
  'marks',
  'stopped_by',
}
local GRANTS = { name = 'grant', loaded = {}, methods = {} }
GRANTS.fields = { 'account', 'amount', 'expires_ms' }
