-- Which trace does a charge belong to?
--
-- Parameters:
--   {charge_id:String}  as in the response header x-farthing-charge
--
-- Columns:
--   trace_id  32 hex digits
SELECT trace_id
FROM charges_final
WHERE id = {charge_id:String}
