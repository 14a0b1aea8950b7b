-- What operators look for: accounts by the beginning of a name, whose admin somebody is, and the newest open alerts.
CREATE INDEX accounts_name ON accounts (lower(name), account_id);
CREATE INDEX admins_email ON admins (email, account_id);
CREATE INDEX alerts_newest ON alerts (opened_at, account_id) WHERE resolved_at IS NULL;
