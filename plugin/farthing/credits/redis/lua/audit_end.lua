-- audit_end(token): what ended may be pruned again

commit()
redis.call('ZREM', key('auditing'), argument(1))
return { 'ok' }
