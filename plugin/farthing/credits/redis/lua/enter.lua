-- enter(payer, key_hash, idle_ms, steps, cost, mark, marks) -> run

local who, idle_ms, mark = payer(), tonumber(argument(6)), argument(9)
local run = load(SESSIONS, who.session)
if not run.started_ms or now.ms - run.last_ms >= idle_ms then
  run.started_ms, run.last_ms, run.steps, run.settled = now.ms, now.ms, 0, ZERO
  run.marks, run.stopped_by = {}, ''
  run.max_steps, run.max_cost = MAYBE_NUMBER.read(argument(7)), MAYBE_MONEY.read(argument(8))
end
local entered = run.stopped_by == '' and (not run.max_steps or run.steps < run.max_steps)
run.known, run.user, run.department, run.key_hash = true, who.user, who.department, argument(5)
-- Also of a call that is not let in: a loop that goes on asking is not quiet.
run.last_ms = math.max(run.last_ms, now.ms)
if entered then
  run.steps = run.steps + 1
  if mark ~= '' then
    local marks = { unpack(run.marks) }
    marks[#marks + 1] = mark
    while #marks > tonumber(argument(10)) do
      table.remove(marks, 1)
    end
    run.marks = marks
  end
end
commit()
return { 'ok', run_of(run, entered) }
