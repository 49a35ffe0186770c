#!lua flags=allow-oom
-- Second step of a new epoch: the shard's data become those of the new epoch, which is not open yet.
--
-- KEYS 1: the shard's epoch
-- ARGV   : the new epoch, the newest epoch that was open before
-- Answer : 'OK' | 'LATE' (a newer or equal epoch is here: nothing was written)
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)
local here = tonumber(string.match(call('GET', KEYS[1]) or '', '^%d+')) or 0

if here >= tonumber(ARGV[1]) then
  return 'LATE'
end
-- Rule: data from before the newest open epoch are an older history. What was appended since then
-- is not in them, and may be in the database under the same numbers.
if here < tonumber(ARGV[2]) then
  for _, channel in ipairs(call('ZRANGE', b .. 'dirty', 0, -1)) do
    call('UNLINK', b .. 'l:' .. channel)
  end
  for _, name in ipairs({'stored', 'base', 'dirty', 'ids0', 'ids1', 'mem0', 'mem1', 'pace'}) do
    call('UNLINK', b .. name)
  end
end
-- Rule: every channel must be seeded anew.
call('UNLINK', b .. 'top')
call('SET', KEYS[1], ARGV[1] .. ' -')
return 'OK'
