#!lua flags=no-writes
-- Reads the newest number, or the newest stored one, of channels.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, 'top' or 'stored', channel...
-- Answer : {'STALE'} | {'OK', seq (false: not touched in this epoch)...}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
local hash = string.sub(KEYS[1], 1, -6) .. ARGV[2]
return {'OK', unpack(redis.call('HMGET', hash, unpack(ARGV, 3)))}
