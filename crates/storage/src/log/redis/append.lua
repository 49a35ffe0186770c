#!lua
-- Takes entries of one shard: numbers them densely, keeps them, remembers their ids, announces them.
-- It may not use memory beyond the limit (no allow-oom): appends stop, so that the drain can go on.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, microseconds an entry costs, microseconds of burst, then for each entry
--          channel, user, id ('' for a join or leave), record from its kind on,
--          what the database knows: first answer of this id, or of this member's join ('' if nothing)
-- Answer : {'STALE'}             another epoch: nothing was written
--          {'SEED', channel...}  these channels were not touched in this epoch: nothing was written
--          {'OK', now in ms, answer...}
-- answer : seq (new) | 'seq epoch ms' (the first answer; with ' S': in the database)
--          | 'NOT' (no member) | 'SLOW ms'
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)
local ENTRY = 5

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end

-- Rule: a channel is numbered only once it was seeded in this epoch.
local channels, places, ids, top = {}, {}, {}, {}
for i = 4, #ARGV, ENTRY do
  local channel = ARGV[i]
  if not top[channel] then
    top[channel] = 0
    channels[#channels + 1] = channel
  end
  places[#places + 1] = channel .. ARGV[i + 1]
  ids[#ids + 1] = ARGV[i + 2]
end
local tops = call('HMGET', b .. 'top', unpack(channels))
local answers = {'SEED'}
for n, channel in ipairs(channels) do
  if tops[n] then
    top[channel] = tonumber(tops[n])
  else
    answers[#answers + 1] = channel
  end
end
if #answers > 1 then
  return answers
end

-- From here on nothing can fail: a failed script would not be rolled back.
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = string.format('%d', math.floor(now_us / 1000))
local cost, burst = tonumber(ARGV[2]), tonumber(ARGV[3])
local epoch = string.match(ARGV[1], '^%d+')
local head = ' ' .. epoch .. ' ' .. now

-- What two generations of a hash say of these fields; the younger one is right.
local function recall(name, fields)
  local known = {}
  for _, generation in ipairs({'1', '0'}) do
    local values = call('HMGET', b .. name .. generation, unpack(fields))
    for n, field in ipairs(fields) do
      if values[n] and field ~= '' then
        known[field] = values[n]
      end
    end
  end
  return known
end
local sent, member = recall('ids', ids), recall('mem', places)
local paced = {}
for n, tat in ipairs(call('HMGET', b .. 'pace', unpack(channels))) do
  paced[channels[n]] = math.max(tonumber(tat or 0), now_us)
end

local lists, grown = {}, {}
local new_ids, new_members, topics, payloads = {}, {}, {}, {}

-- The last recent change of a membership: its entry, or 'L seq' of the entry that ended it.
-- Rule: it counts more than the database, save where this epoch began with it stored: a copy of
-- Redis may have missed a later change that the database has.
local function change(channel, place)
  local last = member[place]
  local seq = last and tonumber(string.match(last, '%d+'))
  if last and seq > tonumber(call('HGET', b .. 'base', channel)) then
    return last
  end
end

-- What the entry is answered with instead of a new number, if anything.
local function first_answer(kind, channel, place, id, stored)
  local joined = change(channel, place) or stored
  local ended = string.sub(joined, 1, 1) == 'L'
  if kind == 'M' then
    return ended and 'NOT' or sent[id] or (stored ~= '' and stored)
  end
  local is_member = not ended and joined ~= ''
  if kind == 'J' then
    return is_member and joined
  end
  return not is_member and 'NOT'
end

-- Rule: a retry may come when all have been told that its entry is stored, so it is told again.
local function known(channel, first)
  local stored = tonumber(call('HGET', b .. 'stored', channel))
  return tonumber(string.match(first, '^%d+')) <= stored and first .. ' S' or first
end

answers = {'OK', now}
for n, place in ipairs(places) do
  local i = 4 + (n - 1) * ENTRY
  local channel, id, record = ARGV[i], ids[n], ARGV[i + 3]
  local kind = string.sub(record, 1, 1)
  local answer = first_answer(kind, channel, place, id, ARGV[i + 4])
  if answer and answer ~= 'NOT' then
    answer = known(channel, answer)
  elseif not answer and paced[channel] - now_us > burst then
    answer = 'SLOW ' .. math.ceil((paced[channel] - now_us - burst) / 1000)
  end
  if not answer then
    answer = top[channel] + 1
    top[channel] = answer
    paced[channel] = paced[channel] + cost
    local seq = string.format('%d', answer)
    local list = lists[channel]
    if not list then
      list = {}
      lists[channel] = list
      grown[#grown + 1] = channel
    end
    list[#list + 1] = seq .. head .. ' ' .. record
    if kind == 'M' then
      sent[id] = seq .. head
      new_ids[#new_ids + 1] = id
      new_ids[#new_ids + 1] = sent[id]
    else
      member[place] = kind == 'J' and seq .. head or 'L ' .. seq
      new_members[#new_members + 1] = place
      new_members[#new_members + 1] = member[place]
      topics[#topics + 1] = 'u:' .. ARGV[i + 1]
      payloads[#payloads + 1] = kind .. ' ' .. channel .. ' ' .. seq .. ' ' .. epoch
    end
  end
  answers[n + 2] = answer
end

if #grown > 0 then
  local new_tops, new_pace, dirty = {}, {}, {}
  for n, channel in ipairs(grown) do
    call('RPUSH', b .. 'l:' .. channel, unpack(lists[channel]))
    new_tops[2 * n - 1], new_tops[2 * n] = channel, string.format('%d', top[channel])
    new_pace[2 * n - 1], new_pace[2 * n] = channel, string.format('%d', paced[channel])
    dirty[2 * n - 1], dirty[2 * n] = now, channel
  end
  call('HSET', b .. 'top', unpack(new_tops))
  call('HSET', b .. 'pace', unpack(new_pace))
  -- Rule: the score is the time of the oldest entry that is not stored yet.
  call('ZADD', b .. 'dirty', 'NX', unpack(dirty))
  if #new_ids > 0 then
    call('HSET', b .. 'ids0', unpack(new_ids))
  end
  if #new_members > 0 then
    call('HSET', b .. 'mem0', unpack(new_members))
  end
  -- When this generation of the ids began; see commit.lua.
  call('HSETNX', b .. 'ids0', '', now)
  for _, channel in ipairs(grown) do
    local parts = {'E'}
    for _, entry in ipairs(lists[channel]) do
      parts[#parts + 1] = #entry .. ':' .. entry
    end
    call('PUBLISH', 'c:' .. channel, table.concat(parts))
  end
  for n, topic in ipairs(topics) do
    call('PUBLISH', topic, payloads[n])
  end
end
return answers
