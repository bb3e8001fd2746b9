-- cap_run(session, steps, cost, actor, reason) -> run, or nothing if it never began

local run = load(SESSIONS, argument(1))
if not run.started_ms then
  commit()
  return { 'ok' }
end
local by, target = { actor = argument(4), reason = argument(5) }, 'session:' .. run.id
for at, what in ipairs({ 'steps', 'cost' }) do
  local cap = MAYBE_MONEY.read(argument(1 + at))
  line(target, 'cap', cap or ZERO, now.month, cap and what or what .. ': none', by)
end
if run.stopped_by ~= '' then
  line(target, 'resume', ZERO, now.month, '', by)
end
run.max_steps, run.max_cost = MAYBE_NUMBER.read(argument(2)), MAYBE_MONEY.read(argument(3))
run.stopped_by = ''
commit()
return { 'ok', run_of(run, true) }
