-- standing(payer) -> standing; nobody becomes known by it

commit() -- reading alone brings no account to the present for good
local who = payer()
local user = account(who.accounts[3])
if not user.known then
  user.department = who.department
end
local standing = standing_of(who)
return { 'ok', standing }
