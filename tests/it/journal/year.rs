//! Fourteen made-up months of three accounts, by chance from a fixed seed: everything that can happen to credits, and
//! most of it at a bad moment.

use crate::support::{Sandbox, account_id, instant, purchase, usage};
use creditd::app::{Answer, AppError};
use creditd::core::calendar::{Instant, Month, parse_zone};
use creditd::core::credits::{CreditType, Credits};
use creditd::core::ids::{AccountId, Key, UserId};
use creditd::core::ledger::{
    Adjust, Bonus, Call, Cap, Capture, Closing, Hold, MonthClosing, NewTerms, Purchase, Refund, Return, Usage, Void,
};
use creditd::core::transaction::Status;

/// When it begins; each account opens on its own day.
const BEGIN: &str = "2018-01-01T06:00:00Z";
/// When it ends: in São Paulo a month began ten minutes ago, with a hold open over its start.
pub const END: &str = "2019-03-01T03:10:00Z";
/// From here on nobody asks anything of the quiet account, so its months are open in fact and not in the log.
const QUIET_FROM: &str = "2019-01-05T00:00:00Z";
/// Where the chance comes from.
const SEED: u64 = 20_180_101;
/// How far the clock moves at once.
const STEP_HOURS: i64 = 10;

const MOVES: &str = "acme_1.x";
const CLOSES: &str = "Beta-2";
const IS_QUIET: &str = "gamma";

/// Id, zone and first day. In São Paulo a midnight is skipped in November 2018.
const ACCOUNTS: [(&str, &str, &str); 3] = [
    (MOVES, "America/New_York", "2018-01-01"),
    (CLOSES, "America/Sao_Paulo", "2018-01-15"),
    (IS_QUIET, "Pacific/Auckland", "2018-02-01"),
];
const ACTIONS: [&str; 6] =
    ["text-to-image", "erase", "background-removal", "image-enhancement", "translation", "upscale"];
/// What people write, and what would like to be something else in a journal.
const COMMENTS: [&str; 7] = [
    "",
    "für Ann; seq:0, kind:forged",
    "50 % | \"two\" \\ words",
    "date:2017-01-01 [2017-02-02]",
    "  = 7 CREDIT",
    "%3B ; income:allocated  -7 CREDIT",
    "2018-01-01 * \"x\" {1} @@ 5 USD #tag ^link",
];

/// An account as the year knows it.
struct Player {
    id: AccountId,
    charges: Vec<Key>,
    holds: Vec<Key>,
    purchases: Vec<Key>,
}

struct Year<'a> {
    sandbox: &'a Sandbox,
    rng: fastrand::Rng,
    now: Instant,
    calls: u64,
}

/// Plays the year, and returns its accounts.
pub async fn play(sandbox: &Sandbox) -> Vec<AccountId> {
    let mut players = Vec::new();
    for (id, zone, opened_on) in ACCOUNTS {
        let id = sandbox.open_account(id, zone, opened_on).await;
        players.push(Player { id, charges: Vec::new(), holds: Vec::new(), purchases: Vec::new() });
    }
    let (begin, end) = (instant(BEGIN), instant(END));
    let rng = fastrand::Rng::with_seed(SEED);
    let mut year = Year { sandbox, rng, now: begin, calls: 0 };
    while year.now < end {
        for player in &mut players {
            if player.id == account_id(IS_QUIET) && year.now >= instant(QUIET_FROM) {
                continue;
            }
            for _ in 0..year.rng.u8(0..3) {
                year.something(player).await;
            }
            year.milestone(&player.id).await;
        }
        year.now = year.now.plus_seconds(STEP_HOURS * 3_600 + year.rng.i64(0..3_600));
    }
    // A hold that is still open when the next month has begun.
    year.now = instant("2019-03-01T02:59:00Z");
    let night = year.hold(24 * 3_600);
    let night = Call::Hold(Hold { quantity: 3, ..night });
    year.call(&account_id(CLOSES), night).await.expect("a hold over the end of the month");
    players.into_iter().map(|player| player.id).collect()
}

impl Year<'_> {
    /// A call, which the rules may refuse: nothing happened then.
    async fn call(&mut self, id: &AccountId, call: Call) -> Option<Answer> {
        match self.sandbox.at_instant(self.now).call(id, call).await {
            Ok(answer) => Some(answer),
            Err(AppError::Refused(_)) => None,
            Err(error) => panic!("{id} at {}: {error}", self.now),
        }
    }

    fn key(&mut self) -> Key {
        self.calls += 1;
        Key::new(&format!("k,{};date:2017-03-03", self.calls)).expect("a key")
    }

    fn comment(&mut self) -> String {
        COMMENTS[self.rng.usize(..COMMENTS.len())].to_owned()
    }

    fn why(&mut self) -> String {
        format!("because {}", self.comment())
    }

    fn user(&mut self) -> Option<UserId> {
        let users = ["ann", "bob,x:y", "eve;\"|\\"];
        users.get(self.rng.usize(..=users.len())).map(|user| UserId::new(user).expect("a user"))
    }

    fn usage(&mut self) -> Usage {
        let action = ACTIONS[self.rng.usize(..ACTIONS.len())];
        let (user, quantity, comment) = (self.user(), self.rng.i64(1..=12), self.comment());
        Usage { key: self.key(), user, quantity, comment, ..usage(action, "k") }
    }

    fn hold(&mut self, ttl_seconds: i64) -> Hold {
        let Usage { key, user, quantity, comment, .. } = self.usage();
        Hold { key, user, action: usage("erase", "k").action, quantity, ttl_seconds, comment }
    }

    /// An instant up to forty days ago.
    fn before(&mut self) -> Option<Instant> {
        Some(self.now.plus_seconds(-self.rng.i64(3_600..40 * 86_400)))
    }

    fn purchase(&mut self) -> Purchase {
        self.calls += 1;
        Purchase { comment: self.comment(), ..purchase(self.rng.i64(1..=2), &format!("inv;{},x:y", self.calls)) }
    }

    fn any(&mut self, keys: &[Key]) -> Option<Key> {
        (!keys.is_empty()).then(|| keys[self.rng.usize(..keys.len())].clone())
    }

    /// One thing that happens to an account.
    async fn something(&mut self, player: &mut Player) {
        let id = player.id.clone();
        let credits = |number| Credits::new(number);
        match self.rng.u8(..100) {
            0..40 => {
                let usage = self.usage();
                let key = usage.key.clone();
                if self.call(&id, Call::Charge(usage)).await.is_some_and(|answer| answer.row.status == Status::Success)
                {
                    player.charges.push(key);
                }
            }
            40..45 => {
                let failed = Usage { status: Status::Failed, ..self.usage() };
                self.call(&id, Call::Charge(failed)).await;
            }
            45..57 => {
                let ttl_seconds = self.rng.i64(600..86_400);
                let hold = self.hold(ttl_seconds);
                player.holds.push(hold.key.clone());
                self.call(&id, Call::Hold(hold)).await;
            }
            57..68 => {
                let Some(hold) = player.holds.pop() else { return };
                let (key, comment) = (self.key(), self.comment());
                let part = [None, Some(credits(self.rng.i64(0..60)))][self.rng.usize(..2)];
                if self.rng.u8(..4) == 0 {
                    self.call(&id, Call::Void(Void { key, hold, comment })).await;
                } else {
                    player.charges.push(key.clone());
                    self.call(&id, Call::Capture(Capture { key, hold, credits: part, comment })).await;
                }
            }
            68..76 => {
                let Some(charge) = self.any(&player.charges) else { return };
                let part = [None, Some(credits(self.rng.i64(1..10)))][self.rng.usize(..2)];
                let refund = Refund { key: self.key(), charge, credits: part, comment: self.comment() };
                self.call(&id, Call::Refund(refund)).await;
            }
            76..88 => {
                let post_to_open = self.rng.bool();
                let late = Usage { occurred_at: self.before(), post_to_open, ..self.usage() };
                self.call(&id, Call::Charge(late)).await;
            }
            88..90 => {
                let late = [None, self.before()][self.rng.usize(..2)];
                let purchase = Purchase { occurred_at: late, ..self.purchase() };
                player.purchases.push(purchase.key.clone());
                self.call(&id, Call::Purchase(purchase)).await;
            }
            90..94 => {
                let (days, keeps) = (self.rng.i64(1..50), self.rng.bool());
                let credit_type = [CreditType::Free, CreditType::Purchased][self.rng.usize(..2)];
                let expires_at = (!keeps).then(|| self.now.plus_days(days));
                let credits = credits(self.rng.i64(1..200));
                let bonus = Bonus { key: self.key(), credit_type, credits, expires_at, comment: self.why() };
                self.call(&id, Call::Bonus(bonus)).await;
            }
            94..97 => {
                let credit_type = [CreditType::Free, CreditType::Purchased][self.rng.usize(..2)];
                let credits = credits(self.rng.i64(1..100));
                let adjust = Adjust { key: self.key(), credit_type, credits, comment: self.why() };
                self.call(&id, Call::Adjust(adjust)).await;
            }
            97..98 => {
                let Some(purchase) = self.any(&player.purchases) else { return };
                let returned = Return { key: self.key(), purchase, comment: self.comment() };
                self.call(&id, Call::Return(returned)).await;
            }
            _ => {
                let limit = [None, Some(credits(self.rng.i64(50..400)))][self.rng.usize(..2)];
                let user = UserId::new("ann").expect("a user");
                let cap = Cap { key: self.key(), user, credits: limit };
                self.call(&id, Call::Cap(cap)).await;
            }
        }
    }

    /// What happens to an account once, when its time has come, and what every month brings.
    async fn milestone(&mut self, id: &AccountId) {
        let today = self.now.to_string()[..10].to_owned();
        let key = self.key();
        let (reopen, comment) = (true, self.why());
        let call = match (id.as_str(), today.as_str()) {
            (MOVES, "2018-06-14") => Call::Terms(terms(key, Some("Asia/Tokyo"), None)),
            (MOVES, "2018-09-14") => Call::Terms(terms(key, None, Some(900))),
            (IS_QUIET, "2018-07-14") => Call::Terms(terms(key, Some("Pacific/Honolulu"), Some(1_200))),
            (CLOSES, "2018-08-05") => Call::Closing(Closing { key, reopen: false, comment }),
            (CLOSES, "2018-10-03") => Call::Closing(Closing { key, reopen, comment }),
            (CLOSES, "2018-05-20") => {
                let month = "2018-03".parse().expect("a month");
                Call::Month(MonthClosing { key, month, reopen, comment })
            }
            // In the middle of a month the one before the last is closed.
            (_, day) if day.ends_with("-12") => {
                let month = Month::of(self.now.to_utc().date_naive()).previous().previous();
                Call::Month(MonthClosing { key, month, reopen: false, comment })
            }
            _ => return,
        };
        self.call(id, call).await;
    }
}

fn terms(key: Key, zone: Option<&str>, allowance: Option<i64>) -> NewTerms {
    let zone = zone.map(|zone| parse_zone(zone).expect("a zone"));
    NewTerms { key, zone, allowance: allowance.map(Credits::new) }
}
