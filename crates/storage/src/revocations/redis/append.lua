#!lua flags=allow-oom
-- Copies rows of the database behind those that are there: all of them, or none when somebody has
-- been here since the caller looked.
--
-- KEYS 1: the stream
-- ARGV   : number of the newest row when the caller looked (0: none),
--          then for each row: number, time, kind, subject
-- Answer : number of the newest row now
local call = redis.call

local function newest()
  local found = call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  return found[1] and tonumber(string.match(found[1][1], '^%d+')) or 0
end

if newest() ~= tonumber(ARGV[1]) then
  return newest()
end
for at = 2, #ARGV, 4 do
  call('XADD', KEYS[1], ARGV[at] .. '-0',
    'at', ARGV[at + 1], 'kind', ARGV[at + 2], 'subject', ARGV[at + 3])
end
return newest()
