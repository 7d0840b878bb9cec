-- A link that needs no secret: how the recording is shown that it leads to, as JSON.
ALTER TABLE shares ADD COLUMN published TEXT;
