#!lua flags=allow-oom
-- Counts the workers that have shown up lately, this one among them.
--
-- KEYS 1: the workers
-- ARGV   : worker, ms after which it counts as gone (0: it leaves)
-- Answer : how many there are
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if ARGV[2] == '0' then
  call('ZREM', KEYS[1], ARGV[1])
else
  call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
end
call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
return call('ZCARD', KEYS[1])
