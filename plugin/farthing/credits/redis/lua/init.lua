#!lua
-- Make a new store, of an id that is given; not where there is one, or where one has lost its id.

local prefix = string.sub(KEYS[1], 1, -6)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'exists'
end
if redis.call('EXISTS', prefix .. 'accounts', prefix .. 'journal', prefix .. 'closings', prefix .. 'leases') > 0 then
  return 'lost'
end
redis.call('SET', KEYS[1], ARGV[1])
return 'made'
