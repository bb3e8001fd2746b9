-- grants(prefix, after) -> the next ids of grants that begin with the prefix

local prefix, after = argument(1), argument(2)
local from = after == '' and '[' .. prefix or '(' .. after
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', key('grants'), from, '+', 'LIMIT', 0, BATCH)) do
  if string.sub(id, 1, #prefix) ~= prefix then
    break
  end
  found[#found + 1] = id
end
commit()
return { 'ok', found }
