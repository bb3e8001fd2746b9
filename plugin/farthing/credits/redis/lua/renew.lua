-- renew(ids, expires_ms)

local ids, expires_ms = cjson.decode(argument(1)), tonumber(argument(2))
for _, id in ipairs(ids) do
  local hold = load(HOLDS, id)
  if hold.state == 'expired' and fits(chain_of(hold.chain), hold.session, hold.amount) then
    hold.state, hold.closed_ms = 'held', false
    hold_on(hold, hold.amount)
  end
  if hold.state == 'held' then
    hold.expires_ms = expires_ms
  end
end
commit()
return { 'ok' }
