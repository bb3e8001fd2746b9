-- Records: loaded when a step first asks for one, read field by field as it is needed, and written at the step's
-- end if it has changed.

-- A field that was not read or set yet is read from the record, or else is a method of the kind.
local function index_of(kind)
  local places = {}
  for place, field in ipairs(kind.fields) do
    places[field] = place
  end
  kind.places = places
  local methods = kind.methods
  return function(record, field)
    local place = places[field]
    if not place then
      return methods[field]
    end
    local as = TYPES[field] or TEXT
    local value = as.read(record.was[place] or as.default)
    record.read[field] = value
    rawset(record, field, value)
    return value
  end
end

-- Return what is kept under an id, or a new one whose `known` is false: it is written once that is set.
local function load(kind, id)
  local record = kind.loaded[id]
  if not record then
    local text = redis.call('GET', key(kind.name, id))
    kind.meta = kind.meta or { __index = index_of(kind) }
    record = { id = id, was = text and cjson.decode(text) or {}, read = {}, known = text ~= false }
    setmetatable(record, kind.meta)
    kind.loaded[id] = record
  end
  return record
end

-- Return a field as text: as it is kept, or as it has become.
local function text_in(kind, record, field)
  local as, value = TYPES[field] or TEXT, rawget(record, field)
  if value == nil or (rawequal(value, record.read[field]) and field ~= 'lots') then
    return record.was[kind.places[field]] or as.default
  end
  return as.write(value)
end

-- Return a record as it has become, and of its fields that differ what they were ('' of a new record); nothing if
-- none does.
local function changed(kind, record)
  if not record.known then
    return nil
  end
  local texts, read, was = record.was, record.read, nil
  local new = texts[1] == nil
  for field, value in pairs(record) do
    local place = (field == 'lots' or not rawequal(value, read[field])) and kind.places[field]
    if place then
      local text = (TYPES[field] or TEXT).write(value)
      if text ~= texts[place] then
        was = was or {}
        was[field], texts[place] = texts[place] or '', text
      end
    end
  end
  if new then
    for place, field in ipairs(kind.fields) do
      texts[place] = texts[place] or (TYPES[field] or TEXT).default
    end
  end
  if new or was then
    return cjson.encode(texts), was or {}
  end
end
