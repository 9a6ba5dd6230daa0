PRAGMA user_version = -7;
PRAGMA application_id = 1818326642;
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, photo BLOB,
    shown TEXT GENERATED ALWAYS AS (upper(name)) VIRTUAL, kept TEXT GENERATED ALWAYS AS (name || '!') STORED);
CREATE INDEX person_name ON person (name COLLATE NOCASE) WHERE name <> '';
CREATE TABLE "odd ""table"" é" (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE VIEW names AS SELECT name FROM person;
CREATE VIRTUAL TABLE words USING fts5 (body);
CREATE VIRTUAL TABLE boxes USING rtree (id, x0, x1);
CREATE TRIGGER grow AFTER INSERT ON person BEGIN
    INSERT INTO words (rowid, body) VALUES (new.id, new.name || ' was here');
END;
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO person (name, photo) SELECT 'person ' || i, randomblob(i * 7 % 1500) FROM n;
INSERT INTO "odd ""table"" é" SELECT name, photo FROM person;
INSERT INTO boxes SELECT id, id, id + 1 FROM person;
DELETE FROM person WHERE id % 3 = 0;
