#!lua flags=no-writes
-- Reads what a channel has that is not in the database yet.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, channel, after, limit
-- Answer : {'STALE'} | {'SEED', channel} | {'OK', stored, top, entry...},
--          at most limit entries, those above stored and above after
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)
local channel = ARGV[2]

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
local top = call('HGET', b .. 'top', channel)
if not top then
  return {'SEED', channel}
end
local stored = call('HGET', b .. 'stored', channel)
local skip = math.max(tonumber(ARGV[3]) - tonumber(stored), 0)
local answer = {'OK', stored, top}
local last = skip + tonumber(ARGV[4]) - 1
if skip <= last then
  for n, entry in ipairs(call('LRANGE', b .. 'l:' .. channel, skip, last)) do
    answer[n + 3] = entry
  end
end
return answer
