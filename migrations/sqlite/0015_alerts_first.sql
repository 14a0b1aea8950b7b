-- Alerts are delivered before statements, of which a hundred thousand may wait.
CREATE INDEX outbox_alerts ON outbox (due_at)
 WHERE state = 'pending' AND kind IN ('low-credit', 'resolved', 'lapse-soon', 'job-failed', 'job-well');
