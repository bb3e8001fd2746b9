-- unsettled(ids) -> those that are not settled

local found = {}
for _, id in ipairs(cjson.decode(argument(1))) do
  if load(HOLDS, id).state ~= 'settled' then
    found[#found + 1] = id
  end
end
commit()
return { 'ok', found }
