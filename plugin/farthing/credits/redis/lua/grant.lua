-- grant(account, department, user, actor, reason, id, amount, expires_ms) -> balance

local by = { actor = argument(4), reason = argument(5) }
local grant = load(GRANTS, argument(6))
local amount, expires_ms = amount_of(argument(7)), MAYBE_NUMBER.read(argument(8))
local state = name(argument(1), argument(2), argument(3))
state:limit(now, by)
if not (grant.account == state.id and grant.amount == amount and grant.expires_ms == expires_ms) then
  local change = amount
  if grant.account == state.id then
    change = amount - grant.amount
    if change < ZERO and grant.expires_ms and grant.expires_ms <= now.ms then
      change = ZERO -- what was left of it has expired: it must not be taken a second time
    end
  elseif grant.known then
    take_back(grant, by)
  end
  state:grant(grant.id, change, expires_ms, now, by)
  state:advance(now) -- it may be over already
  grant.known, grant.account, grant.amount, grant.expires_ms = true, state.id, amount, expires_ms
end
local balance = balance_of(state)
commit()
return { 'ok', balance }
