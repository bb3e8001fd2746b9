-- draw(bucket, amount_ms, share, burst_ms) -> what is left

local bucket, burst_ms = key('bucket', argument(1)), tonumber(argument(4))
local level, at_ms = unpack(redis.call('HMGET', bucket, 'level', 'at_ms'))
local left = burst_ms
if level then
  left = math.min(burst_ms, tonumber(level) + math.max(0, now.ms - tonumber(at_ms)) * tonumber(argument(3)))
end
left = left - tonumber(argument(2))
write('HSET', bucket, 'level', string.format('%.17g', left), 'at_ms', ARGV[2])
commit()
return { 'ok', whole(math.floor(left)) }
