#!lua flags=allow-oom
-- Readies channels for the current epoch: their tail goes on where the database ends.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, then for each channel its id and its newest number in the database,
--          read after this epoch was committed there
-- Answer : {'STALE'} | {'OK'}
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
for i = 2, #ARGV, 2 do
  local channel, database = ARGV[i], tonumber(ARGV[i + 1])
  if call('HEXISTS', b .. 'top', channel) == 0 then
    local list = b .. 'l:' .. channel
    -- Rule: an older copy of Redis may lag behind the database, never lead it.
    local stored = math.max(tonumber(call('HGET', b .. 'stored', channel) or 0), database)
    local first = tonumber(string.match(call('LINDEX', list, 0) or '', '^%d+'))
    if first and first <= stored then
      call('LTRIM', list, stored - first + 1, -1)
    end
    -- Rule: the list holds stored < seq <= top, and nothing else.
    local top = string.format('%d', stored + call('LLEN', list))
    call('HSET', b .. 'stored', channel, string.format('%d', stored))
    call('HSET', b .. 'top', channel, top)
    call('HSET', b .. 'base', channel, string.format('%d', stored))
    local oldest = call('LINDEX', list, 0)
    if oldest then
      call('ZADD', b .. 'dirty', string.match(oldest, '^%d+ %d+ (%d+)') or 0, channel)
    else
      call('ZREM', b .. 'dirty', channel)
    end
  end
end
return {'OK'}
