#!lua flags=no-writes
-- Reads the oldest unstored entries of channels. They stay until commit.lua is told of them.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, most bytes to read, then for each channel its id and most entries
-- Answer : {'STALE'} | {'OK', {number before the first, entry...} for each channel}; a channel not
--          seeded in this epoch, or beyond the bytes, gives no entries
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)
local STRIDE = 100

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
local left = tonumber(ARGV[2])
local answer = {'OK'}
for i = 3, #ARGV, 2 do
  local channel, most = ARGV[i], tonumber(ARGV[i + 1])
  local entries = {call('HGET', b .. 'stored', channel) or '0'}
  if call('HEXISTS', b .. 'top', channel) == 1 then
    local list = b .. 'l:' .. channel
    while left > 0 and #entries <= most do
      local first = #entries - 1
      local more = call('LRANGE', list, first, math.min(first + STRIDE, most) - 1)
      if #more == 0 then
        break
      end
      for _, entry in ipairs(more) do
        entries[#entries + 1] = entry
        left = left - #entry
      end
    end
  end
  answer[#answer + 1] = entries
end
return answer
