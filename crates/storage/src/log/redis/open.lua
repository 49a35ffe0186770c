#!lua flags=allow-oom
-- Last step of a new epoch: from now on entries are taken in it.
--
-- KEYS 1: the shard's epoch
-- ARGV   : the new epoch, run_id of this server, shard, 1 if it replaces another epoch
-- Answer : 'OK' | 'LATE' (another epoch is here: nothing was written)
local call = redis.call

if call('GET', KEYS[1]) ~= ARGV[1] .. ' -' then
  return 'LATE'
end
-- The time tells how long ids must be looked up in the database; 0: nothing was before.
local since = 0
if ARGV[4] == '1' then
  local time = call('TIME')
  since = time[1] * 1000 + math.floor(time[2] / 1000)
end
call('SET', KEYS[1], string.format('%s %s %d', ARGV[1], ARGV[2], since))
call('PUBLISH', 'epochs', ARGV[3] .. ' ' .. ARGV[1])
return 'OK'
