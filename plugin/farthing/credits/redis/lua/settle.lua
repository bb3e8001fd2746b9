-- settle(payer, id, amount, thresholds, tier, model, grade, kind) -> standing, overdraft, crossings, again

local who, id, amount = payer(), argument(5), amount_of(argument(6))
local thresholds = cjson.decode(argument(7))
local hold = load(HOLDS, id)
if of_another(hold, who) then
  return { 'other', hold.user }
end
name_all(who)
local again = hold.state == 'settled'
local overdraft, crossed = ZERO, {}
if not again then
  local reserved = hold.state == 'held' and hold.amount or ZERO
  overdraft = most(ZERO, amount - reserved)
  if hold.user == '' then -- new, or released before it was ever held
    hold.user, hold.chain, hold.session = who.user, who.chain, who.session
  end
  close(hold, 'settled')
  hold.settled, hold.overdraft, hold.day = amount, overdraft, now.day
  hold.tier, hold.model, hold.grade, hold.kind = argument(8), argument(9), argument(10), argument(11)
  for _, account_id in ipairs(chain_of(hold.chain)) do
    local state = account(account_id)
    state.known = true
    state:settle(reserved, amount, overdraft)
    crossed[#crossed + 1] = state:crossed(thresholds)
    add_day('spending', account_id, now.day, hold.tier, amount, overdraft)
  end
  if hold.session ~= '' then
    local session = load(SESSIONS, hold.session)
    session.held, session.settled = session.held - reserved, session.settled + amount
  end
end
local standing = standing_of(who)
commit()
return { 'ok', standing, text_of(overdraft), crossed, again and '1' or '0' }
