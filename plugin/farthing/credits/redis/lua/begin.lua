-- The beginning of every step

local store = redis.call('GET', KEYS[1])
if store ~= ARGV[1] then
  return { 'gone', store or '' }
end
if expire_overdue() then
  commit()
  return { 'again' }
end
