-- What a null online means: by as_of, the features of the view that none of its files had.
ALTER TABLE streamflow.materializations ADD COLUMN not_recorded jsonb NOT NULL DEFAULT '{}';
