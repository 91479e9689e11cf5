-- Every change of a budget: all of it, or nothing. Numbers go in and out as text; below 2^53 they are exact here.
-- All arguments come as one, divided by the unit separator: many small ones would cost the client more than all this.
local function parts(line, most)
  local found, n, from = {}, 0, 1
  while n < most - 1 do
    local at = string.find(line, '\31', from, true)
    if not at then break end
    n = n + 1
    found[n], from = string.sub(line, from, at - 1), at + 1
  end
  found[n + 1] = string.sub(line, from)
  return found
end
local A = parts(ARGV[1], math.huge)
local main, reservations, leases, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local op, id = A[2], A[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

local function text(number) return string.format('%.0f', number) end
local function minus(units) return units == '0' and '0' or '-' .. units end
local function moment(number) return string.format('%.6f', number) end
local clock = moment(now)

-- Charges begin at A[7], seven values each: key, units, limit, start, end, allowance, what to keep of the level. Five
-- fields of each level: spent, reserved, what waits for the ledger, whether the ledger knows of it, what is kept of it.
local charged = (op == 'reserve' or op == 'settle') and #A or 0
local fields = {'epoch', 'seq', 'waiting'}
for at = 7, charged, 7 do
  local key, n = A[at], #fields
  fields[n + 1], fields[n + 2], fields[n + 3] = 's:' .. key, 'r:' .. key, 'u:' .. key
  fields[n + 4], fields[n + 5] = 't:' .. key, 'i:' .. key
end
-- A call of the server costs more than the Lua around it: all is read in one, and written in one by `finish`.
local function look() return redis.call('HMGET', main, unpack(fields)) end
local seen = look()
local seq, waiting = tonumber(seen[2]), tonumber(seen[3])
local changed = {}
local INEXACT = 9007199254740992  -- 2^53: from there on only the server's own integers are exact

-- One line of text, which a client reads at once.
local function answer(status, first, lease, found, levels)
  local told = first and '1' or '0'
  found = (not found or found == '') and '-' or found
  local reply = {status, clock, text(seq or 0), told, text(waiting or 0), moment(lease or 0), found}
  if levels and levels[1] then reply[8] = table.concat(levels, ' ') end
  return table.concat(reply, ' ')
end

if seen[1] ~= 'EPOCH' or seq < tonumber(A[1]) or redis.call('ZCARD', journal) ~= waiting then
  return answer('lost')
end

local function emit(kind, id, body, actual, known)
  seq, waiting = seq + 1, waiting + 1
  local event = {text(seq), kind, id, clock, known and '1' or '0', actual or '', body}
  redis.call('ZADD', journal, seq, table.concat(event, '\31'))
end

-- A reservation is kept as one line: status, lease, content, what was spent, what it holds (key and units), body.
local function keep(id, record)
  local line = {record.status, record.lease, record.content, record.actual, record.held, record.body}
  redis.call('HSET', reservations, id, table.concat(line, '\31'))
end

local function find(id)
  local line = redis.call('HGET', reservations, id)
  if not line then return nil end
  local part = parts(line, 6)
  return {status = part[1], lease = part[2], content = part[3], actual = part[4], held = part[5], body = part[6]}
end

local function close(id, record, status)
  for key, units in string.gmatch(record.held, '(%S+) (%S+)') do
    redis.call('HINCRBY', main, 'r:' .. key, minus(units))
  end
  record.status = status
  keep(id, record)
  redis.call('ZREM', leases, id)
  emit(status, id, record.body)
end

-- What is due; whether there was any.
local function expire()
  local due = redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. clock, 'LIMIT', 0, 32)
  for _, one in ipairs(due) do close(one, find(one), 'expired') end
  return #due > 0
end

local function finish()
  local n = #changed
  changed[n + 1], changed[n + 2], changed[n + 3], changed[n + 4] = 'seq', text(seq), 'waiting', text(waiting)
  redis.call('HSET', main, unpack(changed))
end

-- Raises the field that stands at `place`; what it is then, as text and as number.
local function raise(place, units)
  local was, field = seen[place] or '0', fields[place]
  local before = tonumber(was)
  local sum = before + tonumber(units)
  if units == '0' then return was, sum end
  if before >= INEXACT or sum >= INEXACT then
    return text(redis.call('HINCRBY', main, field, units)), sum
  end
  local n, is = #changed, text(sum)
  changed[n + 1], changed[n + 2] = field, is
  return is, sum
end

-- Counts the charge at A[at], whose fields begin at `place`; whether the ledger must know of it first, and how full the
-- level is then.
local function move(at, place, spent, reserved)
  local s, r = raise(place, spent), raise(place + 1, reserved)
  local _, u = raise(place + 2, A[at + 1])
  if seen[place + 4] ~= A[at + 6] then
    local n = #changed
    changed[n + 1], changed[n + 2] = fields[place + 4], A[at + 6]
  end
  return not seen[place + 3] or u > tonumber(A[at + 5]), s, r
end

if op == 'reserve' then
  local body, content = A[4], A[5]
  local record = find(id)
  if record then
    return answer(record.content == content and 'ok' or 'conflict', true, tonumber(record.lease), record.status)
  end
  for at = 7, charged, 7 do
    if now < tonumber(A[at + 3]) or now >= tonumber(A[at + 4]) then return answer('clock') end
  end
  if expire() then seen = look() end
  local levels, full, place = {}, false, 4
  for at = 7, charged, 7 do
    local n, s, r = #levels, seen[place] or '0', seen[place + 1] or '0'
    levels[n + 1], levels[n + 2] = s, r
    full = full or tonumber(s) + tonumber(r) + tonumber(A[at + 1]) > tonumber(A[at + 2])
    place = place + 5
  end
  if full then
    finish()
    return answer('refused', false, 0, '', levels)
  end
  local lease, first, held = now + tonumber(A[6]), false, {}
  levels, place = {}, 4
  for at = 7, charged, 7 do
    local tell, s, r = move(at, place, '0', A[at + 1])
    local n = #levels
    first = first or tell
    held[n + 1], held[n + 2] = A[at], A[at + 1]
    levels[n + 1], levels[n + 2] = s, r
    place = place + 5
  end
  held = table.concat(held, ' ')
  keep(id, {status = 'open', lease = moment(lease), content = content, actual = '', held = held, body = body})
  redis.call('ZADD', leases, moment(lease), id)
  emit('reserved', id, body)
  finish()
  return answer('ok', first, lease, '', levels)
end

if op == 'settle' then
  local actual = A[5]
  local record = find(id)
  if record and record.status == 'settled' then
    return answer(record.actual == actual and 'ok' or 'conflict', true, 0, 'settled')
  end
  local was = record and record.status or ''
  local holds = {}
  if was == 'open' then
    for key, units in string.gmatch(record.held, '(%S+) (%S+)') do holds[key] = units end
  end
  local first, levels, place = false, {}, 4
  for at = 7, charged, 7 do
    local held, n = holds[A[at]], #levels
    local tell, s, r = move(at, place, A[at + 1], held and minus(held) or '0')
    first = first or tell
    levels[n + 1], levels[n + 2] = s, r
    place = place + 5
  end
  emit('settled', id, A[4], actual, record ~= nil)
  record = record or {lease = clock, content = '', body = A[4], held = ''}
  record.status, record.actual = 'settled', actual
  keep(id, record)
  redis.call('ZREM', leases, id)
  finish()
  return answer('ok', first, 0, was, levels)
end

if op == 'refund' then
  local record = find(id)
  if not record then return answer('unknown') end
  local was = record.status
  if was == 'open' then
    close(id, record, 'refunded')
    finish()
  end
  return answer(was == 'settled' and 'conflict' or 'ok', false, 0, was)
end

if op == 'expire' then
  expire()
  finish()
  return answer('ok')
end

-- acknowledge: number of the event, how many levels, then key and units of each
local gone, at = {}, 3
while A[at] do
  local number, count = A[at], tonumber(A[at + 1])
  if redis.call('ZREMRANGEBYSCORE', journal, number, number) == 1 then
    waiting = waiting - 1
    for n = at + 2, at + 2 * count, 2 do
      local key, units = A[n], tonumber(A[n + 1])
      if gone[key] and gone[key] + units >= INEXACT then
        redis.call('HINCRBY', main, 'u:' .. key, minus(text(gone[key])))
        gone[key] = 0
      end
      gone[key] = (gone[key] or 0) + units
    end
  end
  at = at + 2 + 2 * count
end
for key, units in pairs(gone) do
  redis.call('HINCRBY', main, 'u:' .. key, minus(text(units)))
  changed[#changed + 1], changed[#changed + 2] = 't:' .. key, '1'
end
finish()
return answer('ok')
