#!lua flags=no-writes
-- What a process looks at once: the store's id, and what Redis throws away when its memory is full.

local known, info = pcall(redis.call, 'INFO', 'memory')
local policy = known and string.match(info, 'maxmemory_policy:(%S+)')
return { redis.call('GET', KEYS[1]) or '', policy or '' }
