-- Links whose visitors get machines of their own: what those may take, as JSON.
ALTER TABLE shares ADD COLUMN visits TEXT;
-- The link that a visitor came by to whom this one gives their machine.
ALTER TABLE shares ADD COLUMN visit_of TEXT;
CREATE INDEX shares_by_visit ON shares (visit_of) WHERE visit_of IS NOT NULL;
