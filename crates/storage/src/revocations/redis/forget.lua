#!lua flags=allow-oom
-- Forgets rows that are too old to matter.
--
-- KEYS 1: the stream
-- ARGV   : the time before which they are
local call = redis.call

while true do
  local found = call('XRANGE', KEYS[1], '-', '+', 'COUNT', 100)
  for _, entry in ipairs(found) do
    if tonumber(entry[2][2]) >= tonumber(ARGV[1]) then
      return 0
    end
    call('XDEL', KEYS[1], entry[1])
  end
  if #found < 100 then
    return 0
  end
end
