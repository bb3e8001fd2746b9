-- plan(account, department, user, actor, reason, monthly, roll_over) -> balance

local by = { actor = argument(4), reason = argument(5) }
local monthly, roll_over = MAYBE_MONEY.read(argument(6)), MAYBE_MONEY.read(argument(7))
local state = name(argument(1), argument(2), argument(3))
if state.monthly ~= monthly or state.roll_over ~= roll_over then
  state:plan(monthly, roll_over, now, by)
end
local balance = balance_of(state)
commit()
return { 'ok', balance }
