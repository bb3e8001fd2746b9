-- spending(account) -> {"<day> <settled, overdraft or calls> <tier>", how much, ...}

commit()
return { 'ok', redis.call('HGETALL', key('spending', argument(1))) }
