-- Takes from counters: KEYS are theirs, ARGV their windows in milliseconds, and then what is wanted, in groups:
--   C <n> { <counter> <quota> <cost> } n times    all or nothing; answers the place of the exhausted one or 0, and for each used, end
--   L <counter> <quota> <need> <want>             a slice; answers what is granted, what is left after it, used, end
--   A <counter> <amount>                          counts whatever is left; answers nothing
-- The answer begins with the time. Nothing is written before everything is decided: where writing is refused, nothing is taken.
local limit = 9007199254740991
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local used, ends, changed = {}, {}, {}
local values = {}
if #KEYS > 0 then
  values = redis.call('MGET', unpack(KEYS))
end
for i = 1, #KEYS do
  local window = tonumber(ARGV[i])
  used[i] = 0
  ends[i] = (math.floor(now / window) + 1) * window
  if values[i] then
    local count, finish = string.match(values[i], '^(%d+) (%d+)$')
    if count then
      -- One a little ahead was counted before the clock was set back.
      local ahead = tonumber(finish) - ends[i]
      if ahead >= 0 and ahead <= math.max(window, 10000) then
        used[i] = math.min(tonumber(count), limit)
        ends[i] = tonumber(finish)
      end
    end
  end
end

local function count(i, amount)
  if amount > 0 then
    used[i] = math.min(used[i] + amount, limit)
    changed[i] = true
  end
end

local answer = { now }
local function tell(number)
  answer[#answer + 1] = number
end

local at = #KEYS + 1
local function following()
  local value = tonumber(ARGV[at])
  at = at + 1
  return value
end
while at <= #ARGV do
  local kind = ARGV[at]
  at = at + 1
  if kind == 'C' then
    local n = following()
    local counters, costs, before, exhausted = {}, {}, {}, 0
    for j = 1, n do
      local i, quota, cost = following(), following(), following()
      local taken = used[i] + (before[i] or 0)
      if exhausted == 0 and taken + math.max(cost, 1) > quota then
        exhausted = j
      end
      before[i] = (before[i] or 0) + cost
      counters[j], costs[j] = i, cost
    end
    tell(exhausted)
    if exhausted == 0 then
      for j = 1, n do
        count(counters[j], costs[j])
      end
    end
    for j = 1, n do
      tell(used[counters[j]])
      tell(ends[counters[j]])
    end
  elseif kind == 'L' then
    local i, quota, need, want = following(), following(), following(), following()
    local left = math.max(quota - used[i], 0)
    local slice = math.min(left, math.max(need, math.min(want, math.floor(left / 8))))
    count(i, slice)
    tell(slice)
    tell(left - slice)
    tell(used[i])
    tell(ends[i])
  else
    local i, amount = following(), following()
    count(i, amount)
  end
end

for i in pairs(changed) do
  redis.call('SET', KEYS[i], string.format('%.0f %.0f', used[i], ends[i]), 'PX', string.format('%.0f', ends[i] - now))
end
return answer
