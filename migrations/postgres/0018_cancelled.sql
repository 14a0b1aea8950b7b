-- Why a message was cancelled: by the operator, or since its admin does not wish it any more. What was cancelled before does not say.
ALTER TABLE outbox ADD COLUMN cancelled_because TEXT;
