-- Every change of a budget: all of it, or nothing. Numbers go in and out as text; below 2^53 they are exact here.
-- All arguments come as one, divided by the unit separator: many small ones would cost the client more than all this.
local A = {}
for part in string.gmatch(ARGV[1] .. '\31', '([^\31]*)\31') do A[#A + 1] = part end
local main, reservations, leases, journal = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local head = redis.call('HMGET', main, 'epoch', 'seq', 'waiting')
local seq, waiting = tonumber(head[2]), tonumber(head[3])

local function text(number) return string.format('%.0f', number) end
local function minus(units) return units == '0' and '0' or '-' .. units end
local function moment(number) return string.format('%.6f', number) end

-- One line of text, which a client reads at once.
local function answer(status, first, lease, found, levels)
  local told = first and '1' or '0'
  found = (not found or found == '') and '-' or found
  local reply = {status, moment(now), text(seq or 0), told, text(waiting or 0), moment(lease or 0), found}
  for _, part in ipairs(levels or {}) do reply[#reply + 1] = part end
  return table.concat(reply, ' ')
end

if head[1] ~= 'EPOCH' or seq < tonumber(A[1]) or redis.call('ZCARD', journal) ~= waiting then
  return answer('lost')
end

local function emit(kind, id, body, actual, known)
  seq, waiting = seq + 1, waiting + 1
  local event = {text(seq), kind, id, moment(now), known and '1' or '0', actual or '', body}
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
  local record = {}
  record.status, record.lease, record.content, record.actual, record.held, record.body =
    string.match(line, '^([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31([^\31]*)\31(.*)$')
  return record
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

local function expire()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', '(' .. moment(now), 'LIMIT', 0, 32)) do
    close(id, find(id), 'expired')
  end
end

local function finish() redis.call('HSET', main, 'seq', text(seq), 'waiting', text(waiting)) end

-- Charges begin at A[from], seven values each: key, units, limit, start, end, allowance, what to keep of the level.
local function charges(from)
  local at = from - 7
  return function()
    at = at + 7
    if A[at] then return at end
  end
end

-- Four fields of each level: spent, reserved, whether the ledger knows of it, what is kept of it.
local function look(from)
  local fields = {}
  for at in charges(from) do
    local key = A[at]
    fields[#fields + 1], fields[#fields + 2] = 's:' .. key, 'r:' .. key
    fields[#fields + 1], fields[#fields + 2] = 't:' .. key, 'i:' .. key
  end
  return redis.call('HMGET', main, unpack(fields))
end

-- Counts one charge; whether the ledger must know of it first, and how full the level is then.
local function move(at, spent, reserved, seen, place)
  local key, units = A[at], A[at + 1]
  local s, r = seen[place] or '0', seen[place + 1] or '0'
  if spent ~= '0' then s = text(redis.call('HINCRBY', main, 's:' .. key, spent)) end
  if reserved ~= '0' then r = text(redis.call('HINCRBY', main, 'r:' .. key, reserved)) end
  local u = redis.call('HINCRBY', main, 'u:' .. key, units)
  if seen[place + 3] ~= A[at + 6] then redis.call('HSET', main, 'i:' .. key, A[at + 6]) end
  return not seen[place + 2] or u > tonumber(A[at + 5]), s, r
end

local op, id = A[2], A[3]

if op == 'reserve' then
  local body, content = A[4], A[5]
  local record = find(id)
  if record then
    return answer(record.content == content and 'ok' or 'conflict', true, tonumber(record.lease), record.status)
  end
  for at in charges(7) do
    if now < tonumber(A[at + 3]) or now >= tonumber(A[at + 4]) then return answer('clock') end
  end
  expire()
  local levels, full, seen = {}, false, look(7)
  for at in charges(7) do
    local s, r = tonumber(seen[#levels * 2 + 1] or 0), tonumber(seen[#levels * 2 + 2] or 0)
    levels[#levels + 1], levels[#levels + 2] = text(s), text(r)
    full = full or s + r + tonumber(A[at + 1]) > tonumber(A[at + 2])
  end
  if full then
    finish()
    return answer('refused', false, 0, '', levels)
  end
  local lease, first, held = now + tonumber(A[6]), false, {}
  levels = {}
  for at in charges(7) do
    local tell, s, r = move(at, '0', A[at + 1], seen, #levels * 2 + 1)
    first = first or tell
    held[#held + 1], held[#held + 2] = A[at], A[at + 1]
    levels[#levels + 1], levels[#levels + 2] = s, r
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
  local first, levels, seen = false, {}, look(7)
  for at in charges(7) do
    local held = holds[A[at]]
    local tell, s, r = move(at, A[at + 1], held and minus(held) or '0', seen, #levels * 2 + 1)
    first = first or tell
    levels[#levels + 1], levels[#levels + 2] = s, r
  end
  emit('settled', id, A[4], actual, record ~= nil)
  record = record or {lease = moment(now), content = '', body = A[4], held = ''}
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
local at = 3
while A[at] do
  local number, count = A[at], tonumber(A[at + 1])
  local gone = redis.call('ZREMRANGEBYSCORE', journal, number, number)
  for n = 1, count do
    local key, units = A[at + 2 * n], A[at + 2 * n + 1]
    if gone == 1 then
      redis.call('HINCRBY', main, 'u:' .. key, minus(units))
      redis.call('HSET', main, 't:' .. key, '1')
    end
  end
  waiting = waiting - gone
  at = at + 2 + 2 * count
end
finish()
return answer('ok')
