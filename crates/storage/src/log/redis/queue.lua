#!lua flags=no-writes
-- Tells how much of a shard waits for the database.
--
-- KEYS 1: the shard's epoch
-- ARGV   : most channels to look into; each further one counts as one entry; the channel whose
--          entries are heartbeats, for which nobody waits
-- Answer : epoch ('' if there is none), channels, entries, ms that the oldest has waited
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)
local most = tonumber(ARGV[1])

local waiting = call('ZCARD', b .. 'dirty')
local entries, oldest = math.max(waiting - most, 0), nil
local first = call('ZRANGE', b .. 'dirty', 0, most - 1, 'WITHSCORES')
for i = 1, #first, 2 do
  if first[i] == ARGV[2] then
    waiting = waiting - 1
  else
    entries = entries + call('LLEN', b .. 'l:' .. first[i])
    oldest = oldest or first[i + 1]
  end
end
local age = 0
if oldest then
  local time = call('TIME')
  age = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(oldest)
end
local epoch = string.match(call('GET', KEYS[1]) or '', '^%d+') or ''
return {epoch, waiting, entries, math.max(age, 0)}
