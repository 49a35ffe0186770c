#!lua flags=allow-oom
-- Who drains a shard. A lease saves double work; what keeps the data right is the fence in the
-- database.
--
-- KEYS 1: the shard's lease
-- ARGV   : worker, ms to hold it (0: give it back), 1 if a free one is wanted
-- Answer : 1 if the worker holds it now, else 0
local call = redis.call
local holder = call('GET', KEYS[1])

if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  call('DEL', KEYS[1])
  return 0
end
if holder or ARGV[3] == '1' then
  call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
return 0
