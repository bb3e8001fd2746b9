-- What a step answers: texts in the order in which replies.py reads them.

local function texts_of(kind, record, fields, ...)
  local row = { ... }
  for _, field in ipairs(fields) do
    row[#row + 1] = text_in(kind, record, field)
  end
  return row
end

local function balance_of(state)
  local fields =
    { 'department', 'user', 'limited', 'granted', 'expired', 'settled', 'held', 'overdraft', 'monthly' }
  return texts_of(ACCOUNTS, state, fields, state.id)
end

-- Return {user's balance, available ('' where nothing is limited), short}.
local function standing_of(who)
  local available, short
  for _, id in ipairs(who.accounts) do
    local state = account(id)
    if state.limited then
      local left = state:available()
      if not short or left < available then
        available, short = left, id
      end
    end
  end
  local left = session_left(who.session)
  if left and (not short or left < available) then
    available, short = left, 'session:' .. who.session
  end
  return { balance_of(account(who.accounts[3])), available and text_of(available) or '', short or '' }
end

local function run_of(session, entered)
  local row = texts_of(SESSIONS, session, SESSIONS.fields, session.id)
  row[#row + 1] = entered and '1' or '0'
  return row
end
