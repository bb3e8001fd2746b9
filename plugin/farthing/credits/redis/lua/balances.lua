-- balances(ids) -> balances of the known ones

commit() -- reading alone brings no account to the present for good
local found = {}
for _, id in ipairs(cjson.decode(argument(1))) do
  local state = account(id)
  if state.known then
    found[#found + 1] = balance_of(state)
  end
end
return { 'ok', found }
