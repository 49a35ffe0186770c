#!lua flags=no-writes
-- Reads which channels have waited longest for the database.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, most channels to tell
-- Answer : {'STALE'} | {'OK', now in ms, then for each of the oldest channels
--          its id, time of its oldest entry in ms, entries (-1: not touched in this epoch)}
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
local time = call('TIME')
local answer = {'OK', time[1] * 1000 + math.floor(time[2] / 1000)}
local oldest = call('ZRANGE', b .. 'dirty', 0, tonumber(ARGV[2]) - 1, 'WITHSCORES')
for i = 1, #oldest, 2 do
  local channel = oldest[i]
  local seeded = call('HEXISTS', b .. 'top', channel) == 1
  answer[#answer + 1] = channel
  answer[#answer + 1] = tonumber(oldest[i + 1])
  answer[#answer + 1] = seeded and call('LLEN', b .. 'l:' .. channel) or -1
end
return answer
