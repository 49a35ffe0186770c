#!lua flags=no-writes
-- Reads the newest number of channels, and the last recent change of a user's membership in each.
--
-- KEYS 1: the shard's epoch
-- ARGV   : epoch as installed, user, channel...
-- Answer : {'STALE'} | {'OK', for each channel its newest number (false: not touched in this epoch)
--          and the change: 'seq epoch ms' of a join, 'L seq' of a leave, '' where none is known,
--          'U' where one may wait for the database and the channel must be seeded to tell}
local call = redis.call
local b = string.sub(KEYS[1], 1, -6)

if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'STALE'}
end
local channels, places = {}, {}
for n = 3, #ARGV do
  channels[n - 2], places[n - 2] = ARGV[n], ARGV[n] .. ARGV[2]
end
local tops = call('HMGET', b .. 'top', unpack(channels))
local bases = call('HMGET', b .. 'base', unpack(channels))
local younger = call('HMGET', b .. 'mem0', unpack(places))
local older = call('HMGET', b .. 'mem1', unpack(places))
local answer = {'OK'}
for n, channel in ipairs(channels) do
  local change = younger[n] or older[n] or ''
  -- Rule: one from before this epoch is in the database, and may be outdone by what Redis missed.
  if change ~= '' and tonumber(string.match(change, '%d+')) <= tonumber(bases[n] or 0) then
    change = ''
  end
  -- Rule: what waited when this epoch began is still to be stored, and counts more than the database.
  if not tops[n] and call('EXISTS', b .. 'l:' .. channel) == 1 then
    change = 'U'
  end
  answer[2 * n], answer[2 * n + 1] = tops[n], change
end
return answer
