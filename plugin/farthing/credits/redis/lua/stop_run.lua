-- stop_run(session, actor, reason) -> run, or nothing if it never began

local run = load(SESSIONS, argument(1))
if not run.started_ms then
  commit()
  return { 'ok' }
end
run.stopped_by = argument(2)
line('session:' .. run.id, 'stop', ZERO, now.month, '', { actor = argument(2), reason = argument(3) })
commit()
return { 'ok', run_of(run, true) }
