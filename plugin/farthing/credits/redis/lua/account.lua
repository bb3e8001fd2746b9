-- One account and the arithmetic of its money: State of account.py, name by name. What that returns as
-- lines is appended to the journal here, by the calendar or by whoever asked (`by`).

local MONTHLY = 'monthly'
local OPENING = 'opening'
local CALENDAR = { actor = 'calendar', reason = '' }

local journal = {}

local function line(target, kind, amount, month, ref, by)
  journal[#journal + 1] = { target, by.actor, kind, text_of(amount), month, ref, by.reason }
end

-- Text in the order of its bytes, as Python has it: Lua's own < follows the server's locale.
local function before(a, b)
  for at = 1, math.min(#a, #b) do
    local left, right = string.byte(a, at), string.byte(b, at)
    if left ~= right then
      return left < right
    end
  end
  return #a < #b
end

local function next_month(month)
  local year, number = tonumber(string.sub(month, 1, 4)), tonumber(string.sub(month, 6))
  return string.format('%04d-%02d', year + math.floor(number / 12), number % 12 + 1)
end

local State = {}

function State:available()
  return self.granted - self.expired - self.settled - self.held
end

-- Time

function State:advance(now)
  if not self.due_ms or now.ms < self.due_ms then
    return
  end
  while self.monthly and before(self.month, now.month) do
    local lot = self:lot(MONTHLY, now.month_ends_ms)
    local kept = self.roll_over and least(lot.remaining, self.roll_over) or lot.remaining
    self:expire(lot, lot.remaining - kept, self.month)
    if kept < lot.remaining then
      self:add_lot(MONTHLY .. ':' .. self.month, lot.remaining - kept, now.ms)
      lot.remaining = kept
    end
    self.month = next_month(self.month)
    self.base, self.warned = self.settled, 0
    self:give(lot, self.monthly, 'grant', self.month, CALENDAR)
  end
  for _, lot in ipairs(self.lots) do
    local planned = lot.grant_id == MONTHLY and self.monthly
    if not planned and lot.expires_ms and lot.expires_ms <= now.ms then
      self:expire(lot, lot.remaining, now.month)
    end
  end
  self:tidy(now)
end

function State:expire(lot, wanted, month)
  local gone = least(wanted, most(ZERO, self:available()))
  if gone ~= ZERO then
    lot.remaining = lot.remaining - gone
    self.expired = self.expired + gone
    line(self.id, 'expire', ZERO - gone, month, lot.grant_id, CALENDAR)
  end
end

function State:give(lot, amount, kind, month, by)
  local debt = most(ZERO, self.expired + self.settled - self.granted)
  lot.remaining = lot.remaining + most(ZERO, amount - debt)
  self.granted = self.granted + amount
  if amount ~= ZERO then
    line(self.id, kind, amount, month, lot.grant_id, by)
  end
end

-- Take `amount` back: from its own lot first, then from the others.
function State:withdraw(lot, amount, month, by)
  self.granted = self.granted - amount
  local left = amount
  local function take(source)
    local taken = least(source.remaining, left)
    source.remaining = source.remaining - taken
    left = left - taken
  end
  take(lot)
  for _, other in ipairs(self.lots) do
    if other ~= lot then
      take(other)
    end
  end
  if amount ~= ZERO then
    line(self.id, 'adjust', ZERO - amount, month, lot.grant_id, by)
  end
end

-- Return the lot of a grant, a new one if there is none left, with its expiry as it is now.
function State:lot(grant_id, expires_ms)
  local found
  for _, lot in ipairs(self.lots) do
    if lot.grant_id == grant_id then
      found = lot
      break
    end
  end
  if not found then
    found = self:add_lot(grant_id, ZERO, expires_ms)
  end
  found.expires_ms = expires_ms
  return found
end

function State:add_lot(grant_id, remaining, expires_ms)
  local lot = { grant_id = grant_id, remaining = remaining, expires_ms = expires_ms }
  self.lots[#self.lots + 1] = lot
  return lot
end

function State:tidy(now)
  local lots = {}
  self.due_ms = self.monthly and now.month_ends_ms
  for _, lot in ipairs(self.lots) do
    if lot.remaining ~= ZERO then
      lots[#lots + 1] = lot
      if lot.expires_ms and (not self.due_ms or lot.expires_ms < self.due_ms) then
        self.due_ms = lot.expires_ms
      end
    end
  end
  table.sort(lots, function(a, b)
    local left, right = a.expires_ms or math.huge, b.expires_ms or math.huge
    if left ~= right then
      return left < right
    end
    return before(a.grant_id, b.grant_id)
  end)
  self.lots = lots
end

-- What it is given. Each after `advance`.

function State:limit(now, by)
  if self.limited then
    return
  end
  self.limited = true
  local opening = self.expired + self.settled + self.held - self.granted
  self.granted = self.granted + opening
  self.base = self.settled
  if self.held ~= ZERO then
    self:add_lot(OPENING, self.held, now.ms)
  end
  self:tidy(now)
  if opening ~= ZERO then
    line(self.id, 'opening', opening, now.month, OPENING, by)
  end
end

function State:unlimit()
  self.limited, self.monthly, self.due_ms, self.lots = false, false, false, {}
end

function State:plan(monthly, roll_over, now, by)
  if monthly then
    self:limit(now, by)
  end
  local given = self.monthly or ZERO
  local lot = self:lot(MONTHLY, now.month_ends_ms)
  if monthly and not self.monthly then
    if before(self.month, now.month) then
      self.month = now.month
    end
    self.base, self.warned = self.settled, 0
  end
  self.monthly, self.roll_over = monthly, roll_over
  local change = (monthly or ZERO) - given
  if ZERO < change then
    self:give(lot, change, given ~= ZERO and 'adjust' or 'grant', now.month, by)
  else
    self:withdraw(lot, ZERO - change, now.month, by)
  end
  self:changed(now)
end

function State:grant(grant_id, change, expires_ms, now, by)
  local lot = self:lot(grant_id, expires_ms)
  if expires_ms and expires_ms <= now.ms then
    change = most(change, ZERO)
  end
  if ZERO <= change then
    self:give(lot, change, 'grant', now.month, by)
  else
    self:withdraw(lot, ZERO - change, now.month, by)
  end
  self:changed(now)
end

function State:changed(now)
  self:tidy(now)
  local spent, total = self:period()
  if total == ZERO then
    self.warned = 0
  end
  while self.warned > 0 and spent * 100 < total * self.warned do
    self.warned = self.warned - 1
  end
end

-- Spending. Each after `advance`.

function State:fits(amount)
  return amount == ZERO or not self.limited or amount <= self:available()
end

function State:settle(reserved, amount, overdraft)
  self.held = self.held - reserved
  self.settled = self.settled + amount
  self.overdraft = self.overdraft + overdraft
  for _, lot in ipairs(self.lots) do
    if amount == ZERO then
      break
    end
    local taken = least(lot.remaining, amount)
    lot.remaining = lot.remaining - taken
    amount = amount - taken
  end
end

-- Return {account, threshold, spent, total} of the highest threshold that is newly reached, if any.
function State:crossed(thresholds)
  if not self.limited then
    return nil
  end
  local spent, total = self:period()
  local reached
  for _, mark in ipairs(thresholds) do
    if mark > self.warned and total ~= ZERO and total * mark <= spent * 100 then
      reached = math.max(reached or mark, mark)
    end
  end
  if not reached then
    return nil
  end
  self.warned = reached
  return { self.id, tostring(reached), text_of(spent), text_of(total) }
end

function State:period()
  local spent = self.settled - self.base
  return spent, spent + most(ZERO, self.granted - self.expired - self.settled)
end
