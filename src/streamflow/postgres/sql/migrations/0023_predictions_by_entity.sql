-- An entity's predictions are found without reading the whole log: its page in the console, and
-- whoever is forgotten. A hash index is the cheapest to write to: some microseconds a row.
CREATE INDEX predictions_entity_id ON streamflow.predictions USING hash (entity_id);
