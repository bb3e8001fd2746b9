-- Money: exact whole nano-dollars. A Lua number is a double, exact up to 2^53 only (9 million dollars in
-- nano-dollars), so dollars and nano-dollars are kept apart: dollars * 1e9 + nanos, with 0 <= nanos < 1e9.

local floor = math.floor
local Money = {}

local function money(dollars, nanos)
  return setmetatable({ dollars, nanos }, Money)
end

function Money.__add(a, b)
  local dollars, nanos = a[1] + b[1], a[2] + b[2]
  if nanos >= 1e9 then
    return money(dollars + 1, nanos - 1e9)
  end
  return money(dollars, nanos)
end

function Money.__sub(a, b)
  local dollars, nanos = a[1] - b[1], a[2] - b[2]
  if nanos < 0 then
    return money(dollars - 1, nanos + 1e9)
  end
  return money(dollars, nanos)
end

function Money.__mul(a, factor) -- a small whole number, not negative
  local nanos = a[2] * factor
  local carry = floor(nanos / 1e9)
  return money(a[1] * factor + carry, nanos - carry * 1e9)
end

function Money.__eq(a, b)
  return a[1] == b[1] and a[2] == b[2]
end

function Money.__lt(a, b)
  return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2])
end

function Money.__le(a, b)
  return not (b < a)
end

local ZERO = money(0, 0)

local function least(a, b)
  if b < a then
    return b
  end
  return a
end

local function most(a, b)
  if a < b then
    return b
  end
  return a
end

-- Read a decimal number, as ARGV and Redis have it.
local function amount_of(text)
  if #text <= 15 then -- exact as a double
    local whole = tonumber(text)
    local dollars = floor(whole / 1e9)
    return money(dollars, whole - dollars * 1e9)
  end
  if string.byte(text) == 45 then -- a minus sign
    return ZERO - amount_of(string.sub(text, 2))
  end
  return money(tonumber(string.sub(text, 1, -10)), tonumber(string.sub(text, -9)))
end

local MOST = amount_of('9223372036854775807')

-- Write it as a decimal number. What 64 bits cannot hold is an error, before anything is changed.
local function text_of(amount)
  local dollars = amount[1]
  if dollars >= 0 and dollars < 1e6 then
    return string.format('%.0f', dollars * 1e9 + amount[2])
  end
  if amount < ZERO then
    return '-' .. text_of(ZERO - amount)
  end
  if MOST < amount then
    error('an amount that 64 bits cannot hold')
  end
  return string.format('%.0f%09.0f', dollars, amount[2])
end
