-- What a machine's owner has settled about the people at it; a machine without a row has nobody
-- muted, its door open and its keyboard as the server finds best.
CREATE TABLE rooms (
    machine TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    keyboard_mode TEXT NOT NULL,
    keyboard_locked BOOLEAN NOT NULL,
    door_locked BOOLEAN NOT NULL
);

-- Who is muted, and who was here when the door was locked and may come back.
CREATE TABLE room_guests (
    machine TEXT NOT NULL REFERENCES rooms (machine) ON DELETE CASCADE,
    session TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    muted BOOLEAN NOT NULL,
    admitted BOOLEAN NOT NULL,
    PRIMARY KEY (machine, session)
);
CREATE INDEX room_guests_by_session ON room_guests (session);
