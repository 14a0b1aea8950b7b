//! What creditd knows: pure functions over plain values.
//!
//! Nothing here is async, reads a clock, touches a file or a database, uses a float or depends on the order of a
//! hash map. Time, prices and stored state come in as arguments; plans and answers go out as values.

pub mod access;
pub mod alert;
pub mod backfill;
pub mod calendar;
pub mod causes;
pub mod counting;
pub mod credits;
pub mod delivery;
pub mod forecast;
pub mod ids;
pub mod ledger;
pub mod locale;
pub mod near;
pub mod outbox;
pub mod price;
pub mod run;
pub mod schedule;
pub mod sealed;
pub mod secret;
pub mod signed;
pub mod statement;
pub mod token;
pub mod transaction;
pub mod unsubscribe;
pub mod visit;
pub mod webhook;
