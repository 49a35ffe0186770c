#!lua flags=allow-oom
-- Notes what is in the database, lets go of it, and forgets old ids.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, ms that ids are remembered, ms of grace once all of them are stored,
--          number of marks, then for each a channel, a number up to which it is stored and the
--          epoch of the entry there (ascending; the last one of each epoch), then topics and
--          payloads to publish afterwards
-- Answer : {'STALE'} | {'OK'}
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = 4 + 3 * tonumber(ARGV[4])

for i = 5, last, 3 do
  local channel = ARGV[i]
  local list = b .. 'l:' .. channel
  local top = tonumber(call('HGET', b .. 'top', channel) or 0)
  local before = tonumber(call('HGET', b .. 'stored', channel) or 0)
  local stored = math.min(tonumber(ARGV[i + 1]), top)
  -- Rule: stored never falls; a slower worker may come later.
  if stored > before then
    call('HSET', b .. 'stored', channel, string.format('%d', stored))
    call('LTRIM', list, stored - before, -1)
    -- Rule: the score is the time of the oldest entry that remains, not of the first that was.
    local oldest = call('LINDEX', list, 0)
    if oldest then
      call('ZADD', b .. 'dirty', string.match(oldest, '^%d+ %d+ (%d+)') or now, channel)
    else
      call('ZREM', b .. 'dirty', channel)
      if tonumber(call('HGET', b .. 'pace', channel) or 0) <= now * 1000 then
        call('HDEL', b .. 'pace', channel)
      end
    end
    -- Rule: stored is told in the entries' own epoch, in which their senders know them.
    call('PUBLISH', 'c:' .. channel, string.format('S %d %s', stored, ARGV[i + 2]))
  end
end
for i = last + 1, #ARGV, 2 do
  call('PUBLISH', ARGV[i], ARGV[i + 1])
end

-- Rule: ids are forgotten when they are old and all of them are stored, and not at once then: the
-- database may have been asked for one just before.
local began = tonumber(call('HGET', b .. 'ids0', '') or now)
if now - began >= tonumber(ARGV[2]) then
  local oldest = tonumber(call('ZRANGE', b .. 'dirty', 0, 0, 'WITHSCORES')[2] or now)
  local clean = tonumber(call('HGET', b .. 'ids1', 'clean') or now)
  if oldest > began and clean == now then
    call('HSET', b .. 'ids1', 'clean', now)
  elseif oldest > began and now - clean >= tonumber(ARGV[3]) then
    call('UNLINK', b .. 'ids1', b .. 'mem1')
    for _, name in ipairs({'ids', 'mem'}) do
      if call('EXISTS', b .. name .. '0') == 1 then
        call('RENAME', b .. name .. '0', b .. name .. '1')
      end
    end
  end
end
return {'OK'}
