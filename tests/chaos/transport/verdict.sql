-- The verdict's tables and views. Times are seconds of one monotonic clock; `who` is one incarnation of a process.

CREATE TABLE sent (at REAL, queue TEXT, key TEXT, seq INTEGER);
CREATE TABLE again (key TEXT, seq INTEGER);
CREATE TABLE got (who TEXT, at REAL, part INTEGER, place INTEGER, key TEXT, seq INTEGER, redelivered INTEGER);
CREATE TABLE done (who TEXT, at REAL, key TEXT, seq INTEGER);
CREATE TABLE fault (at REAL, ended REAL, kind TEXT, who TEXT);
CREATE TABLE expelled (at REAL, who TEXT);
CREATE TABLE hung (at REAL, who TEXT);
CREATE TABLE patience (commits REAL, drain REAL, session REAL);

CREATE INDEX sent_key ON sent (key, seq);
CREATE INDEX again_key ON again (key, seq);
CREATE INDEX got_key ON got (key, seq, at);
CREATE INDEX done_key ON done (key, seq, who, at);

-- One run of a message: when it was handed out, and when the same process said it was done.
CREATE TABLE run (key TEXT, seq INTEGER, nth INTEGER, who TEXT, at REAL, done REAL, part INTEGER, place INTEGER, flag INTEGER);
CREATE INDEX run_key ON run (key, seq, nth);

CREATE VIEW first AS SELECT * FROM run WHERE nth = 1;

-- A message that was confirmed, and never handed out or never finished.
CREATE VIEW lost AS
SELECT s.key, s.seq, s.queue, s.at FROM sent s
WHERE NOT EXISTS (SELECT 1 FROM done d WHERE d.key = s.key AND d.seq = s.seq);

-- A message that nobody says was published.
CREATE VIEW invented AS
SELECT DISTINCT g.key, g.seq FROM got g
WHERE NOT EXISTS (SELECT 1 FROM sent s WHERE s.key = g.key AND s.seq = g.seq);

-- A message that was handed out for the first time before its predecessor of the same key was.
CREATE VIEW out_of_order AS
SELECT b.key, b.seq, b.who, b.at, a.at AS predecessor FROM first b
JOIN first a ON a.key = b.key AND a.seq = b.seq - 1 WHERE b.at < a.at;

-- A message that was handed out for the first time before its predecessor of the same key was done.
CREATE VIEW overtaking AS
SELECT b.key, b.seq, b.who, b.at FROM first b
WHERE b.seq > 0 AND NOT EXISTS (
    SELECT 1 FROM done d WHERE d.key = b.key AND d.seq = b.seq - 1 AND d.at <= b.at);

-- A message that was handed out again, with the reason that explains it. The worst comes last: it was done, and its
-- process then had the time and the connection to commit that.
CREATE VIEW rerun AS
SELECT r.key, r.seq, r.nth, r.who AS before, r.at AS before_at, r.done, n.who, n.at, n.flag,
    CASE
        WHEN r.place <> n.place THEN 'stored twice: its publish was not confirmed'
        WHEN r.done IS NULL THEN 'it was not done'
        WHEN r.done > n.at THEN 'it was not done yet'
        WHEN EXISTS (SELECT 1 FROM fault f WHERE f.who = r.who AND f.kind IN ('PAUSE', 'FREEZE')
            AND r.done >= f.at - p.commits AND r.done <= f.ended + p.drain + p.commits)
            THEN 'its process was stopped before it committed'
        WHEN EXISTS (SELECT 1 FROM fault f WHERE f.who = n.who AND f.kind IN ('PAUSE', 'FREEZE')
            AND n.at BETWEEN f.at AND f.ended + p.commits)
            THEN 'its second process had stood still, and did not know yet that its partitions were gone'
        WHEN EXISTS (SELECT 1 FROM fault f WHERE f.who = r.who AND f.kind = 'KILL'
            AND f.at BETWEEN r.done - 0.1 AND r.done + p.commits)
            THEN 'its process was killed before it committed'
        WHEN EXISTS (SELECT 1 FROM expelled e WHERE e.who = r.who AND r.done BETWEEN e.at - p.session AND e.at + 1.0)
            THEN 'the group had taken its process for dead'
        WHEN r.done - r.at >= p.drain THEN 'it took longer than a partition that leaves waits'
        WHEN EXISTS (SELECT 1 FROM fault f WHERE f.kind = 'KILL_BROKER'
            AND r.done BETWEEN f.at - p.commits AND f.ended + 10.0)
            THEN 'a broker was gone when it should have been committed'
        WHEN EXISTS (SELECT 1 FROM again a WHERE a.key = r.key AND a.seq = r.seq)
            THEN 'stored twice: its publish was not confirmed'
        ELSE 'AFTER ITS COMMIT'
    END AS reason
FROM run r JOIN run n ON n.key = r.key AND n.seq = r.seq AND n.nth = r.nth + 1, patience p;

-- What a fault may cost: what its victim held, or had done and perhaps not committed, when it began or ended; and what
-- others held for longer than a partition that leaves waits, for a fault makes partitions leave. A broker is everyone's.
CREATE VIEW in_flight AS
SELECT f.at, f.kind, f.who, (
    SELECT count(*) FROM run r, patience p
    WHERE CASE
        WHEN r.who = f.who OR f.kind = 'KILL_BROKER' THEN
            (r.at <= f.at AND coalesce(r.done, r.at + 60) > f.at - p.commits)
            OR (r.at <= f.ended AND coalesce(r.done, r.at + 60) > f.ended - p.commits)
        ELSE coalesce(r.done, r.at + 60) - r.at >= p.drain
            AND r.at <= f.ended + 10 AND coalesce(r.done, r.at + 60) >= f.at
        END) AS messages
FROM fault f
UNION ALL
SELECT e.at, 'EXPELLED', e.who, (
    SELECT count(*) FROM run r, patience p
    WHERE r.who = e.who AND r.at <= e.at AND coalesce(r.done, r.at + 60) >= e.at - p.session) AS messages
FROM expelled e;

-- How long what was published around a fault waited: until the last of it was handed out, work did not flow.
CREATE VIEW recovery AS
SELECT f.at, f.kind, f.who, max(b.at) - f.at AS seconds FROM fault f
JOIN sent s ON s.at BETWEEN f.at - 0.3 AND f.at + 1.0
JOIN first b ON b.key = s.key AND b.seq = s.seq
GROUP BY f.at, f.kind, f.who;
