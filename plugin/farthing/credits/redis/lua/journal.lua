-- journal(target, upto, limit) -> {place, at_ms, actor, action, target, amount, month, ref, reason} of each, the
-- newest first, of those at places before upto ('': all)

local target, upto, limit = argument(1), argument(2), tonumber(argument(3))
local found = {}

local function add(place, entry)
  local row = { place }
  for at = 2, #entry[2], 2 do
    row[#row + 1] = entry[2][at]
  end
  found[#found + 1] = row
end

if target ~= '' then
  account(target) -- brought to the present
end
commit()
if target == '' then
  local from = upto == '' and '+' or '(' .. upto .. '-0'
  for _, entry in ipairs(redis.call('XREVRANGE', key('journal'), from, '-', 'COUNT', limit)) do
    add(string.match(entry[1], '^%d+'), entry)
  end
else
  local of_target = key('journal', target)
  local last = upto == '' and redis.call('LLEN', of_target) or tonumber(upto)
  local first = math.max(0, last - limit)
  local numbers = last > first and redis.call('LRANGE', of_target, first, last - 1) or {}
  for at = #numbers, 1, -1 do
    add(whole(first + at - 1), redis.call('XRANGE', key('journal'), numbers[at], numbers[at])[1])
  end
end
return { 'ok', found }
