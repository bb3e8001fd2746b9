-- hold(payer, id, amount, expires_ms) -> standing, or `short` and the standing

local who, id = payer(), argument(5)
local amount, expires_ms = amount_of(argument(6)), tonumber(argument(7))
local hold = load(HOLDS, id)
if of_another(hold, who) then
  return { 'other', hold.user }
end
name_all(who)
local tag = 'ok'
if not hold.known then
  if fits(who.accounts, who.session, amount) then
    hold.known, hold.state, hold.user, hold.chain = true, 'held', who.user, who.chain
    hold.session, hold.amount, hold.expires_ms = who.session, amount, expires_ms
    hold_on(hold, amount)
  else
    tag = 'short'
  end
end
local standing = standing_of(who)
commit()
return { tag, standing }
