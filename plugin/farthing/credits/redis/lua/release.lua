-- release(id)

local hold = load(HOLDS, argument(1))
if hold.state == 'held' then
  hold_on(hold, ZERO - hold.amount)
  close(hold, 'released')
elseif not hold.known then
  close(hold, 'released')
end
commit()
return { 'ok' }
