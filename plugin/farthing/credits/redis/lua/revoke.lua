-- revoke(ids, actor)

local by = { actor = argument(2), reason = '' }
for _, id in ipairs(cjson.decode(argument(1))) do
  local grant = load(GRANTS, id)
  if grant.known then
    take_back(grant, by)
    grant.gone = true
  end
end
commit()
return { 'ok' }
