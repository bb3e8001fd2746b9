-- How far did each of these gateway processes get? One row for each that is known here.
--
-- Parameter: {instances:Array(String)}, the processes asked for.
--
--   gateway_instance  the gateway process
--   last              the highest number of its charges that arrived
SELECT
    gateway_instance,
    max(sequence) AS last
FROM charges
WHERE gateway_instance IN {instances:Array(String)}
GROUP BY gateway_instance
