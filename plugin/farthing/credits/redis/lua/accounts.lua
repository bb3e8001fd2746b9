-- accounts(after) -> balances of the next accounts

commit() -- reading alone brings no account to the present for good
local after, found = argument(1), {}
local from = after == '' and '-' or '(' .. after
for at, id in ipairs(redis.call('ZRANGEBYLEX', key('accounts'), from, '+', 'LIMIT', 0, BATCH)) do
  found[at] = balance_of(account(id))
end
return { 'ok', found }
