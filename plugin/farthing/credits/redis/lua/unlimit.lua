-- unlimit(account)

local state = account(argument(1))
if state.known then
  state:unlimit()
  for _, id in ipairs(redis.call('SMEMBERS', key('grants', state.id))) do
    load(GRANTS, id).gone = true
  end
end
commit()
return { 'ok' }
