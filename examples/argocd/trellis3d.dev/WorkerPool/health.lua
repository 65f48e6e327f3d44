-- A WorkerPool is healthy while it can serve jobs, also with no worker when no job waits, and degraded when something keeps its
-- workers from starting. One that has workers and starts more stays healthy: pools grow and shrink with their queue.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not looked at the pool as it is now."}
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

if holds("Stalled") then
  return {status = "Degraded", message = conditions.Stalled.message}
end
local ready = conditions.Ready or {}
return {status = holds("Ready") and "Healthy" or "Progressing", message = ready.message or ""}
