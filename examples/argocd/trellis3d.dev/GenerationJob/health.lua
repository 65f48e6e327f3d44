-- A GenerationJob is healthy once its asset is there, and degraded when it failed or was cancelled: neither is tried again by itself.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "The operator has not looked at the job as it is now."}
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end
local function health(name, kind)
  return {status = name, message = conditions[kind] and conditions[kind].message or ""}
end

if holds("Ready") then
  return health("Healthy", "Ready")
end
if holds("Stalled") then
  return health("Degraded", "Stalled")
end
if holds("Suspended") then
  return health("Suspended", "Suspended")
end
-- It waits or runs: this condition says for what, or where.
local progressing = health("Progressing", "Scheduled")
if holds("Scheduled") and status.progress ~= nil then
  progressing.message = progressing.message .. " " .. status.progress.stage .. ": " .. status.progress.percent .. " %."
end
return progressing
