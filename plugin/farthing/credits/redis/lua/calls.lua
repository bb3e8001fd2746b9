-- calls(user) -> {id, at_ms, session, settled, overdraft, tier, model, grade, kind} of each

local found = {}
for _, id in ipairs(redis.call('LRANGE', key('calls', argument(1)), 0, -1)) do
  local call = load(HOLDS, id)
  if call.state == 'settled' then
    found[#found + 1] = {
      id,
      whole(call.closed_ms),
      call.session,
      text_of(call.settled),
      text_of(call.overdraft),
      call.tier,
      call.model,
      call.grade,
      call.kind,
    }
  end
end
commit()
return { 'ok', found }
