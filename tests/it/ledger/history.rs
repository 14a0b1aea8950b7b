//! Random histories of one account: what happens, before anything is known of what comes of it.

use crate::support::usage;
use creditd::core::ids::ActionCode;
use proptest::prelude::*;
use proptest::sample::Index;

pub const HOUR_US: i64 = 3_600 * 1_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;
/// Small, so that a few charges exhaust it.
pub const PACK: i64 = 400;

/// Where and when accounts open: each zone does something odd to a month's start, or a day, soon after.
const PLACES: [(&str, &str); 12] = [
    ("UTC", "2013-01-01"),
    ("America/New_York", "2013-01-01"),
    ("Europe/Berlin", "2013-01-31"),
    ("America/St_Johns", "2009-08-20"), // 2009-11-01 begins twice: at 00:01 clocks go back an hour
    ("Asia/Damascus", "2004-12-31"),    // 2005-04-01 begins at 01:00
    ("America/Asuncion", "2017-07-10"), // 2017-10-01 begins at 01:00
    ("America/Havana", "2012-10-29"),   // midnight twice, on a fourth
    ("Pacific/Apia", "2011-11-30"),     // there was no 2011-12-30
    ("Pacific/Kiritimati", "1994-12-30"), // there was no 1994-12-31 or 1995-01-01
    ("Australia/Lord_Howe", "2013-02-28"),
    ("Asia/Kathmandu", "2020-02-29"),
    ("Pacific/Honolulu", "2013-01-01"),
];

const ACTIONS: [&str; 4] = ["text-to-image", "erase", "upscale", "translation"];
pub const USERS: [&str; 2] = ["ann", "bob"];

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Time passes; a little backwards, too, as when a machine's clock is set.
    Wait(i64),
    /// Time passes until that many microseconds after the end of the month.
    WaitForMonthEnd(i64),
    /// Time passes until that many microseconds after the end of the hold that ends next.
    WaitForHoldEnd(i64),
    /// The job sees the new month, then the clock is set back that far behind its start.
    SetBack(i64),
    /// Something is asked for the first time.
    Ask(Told, Wish),
    /// Something is asked again; with something else under the same key when `other`.
    AskAgain { index: Index, other: bool },
    /// An action gets a new price, or is retired, so many microseconds from now.
    Price { action: &'static str, credits: Option<i64>, in_us: i64 },
    /// The reset job passes.
    Job,
}

/// When a call says that it happened.
#[derive(Clone, Debug)]
pub enum Told {
    Now,
    /// At some point between the opening and now, in thousandths.
    Ago(i64),
    /// So many microseconds from the end of some month.
    NearMonthEnd(Index, i64),
    /// Where no call may be: later than now, or before the account opened.
    Future(i64),
    BeforeOpening(i64),
}

/// How much of something.
#[derive(Clone, Copy, Debug)]
pub enum Share {
    /// Whatever there is.
    All,
    /// So many thousandths of it.
    Part(i64),
    /// So many credits more than there are.
    Beyond(i64),
}

/// What somebody wants, before it is known which earlier call it is about.
#[derive(Clone, Debug)]
pub enum Wish {
    Charge {
        action: &'static str,
        quantity: i64,
        user: Option<&'static str>,
        failed: bool,
        post_to_open: bool,
    },
    Hold {
        action: &'static str,
        quantity: i64,
        user: Option<&'static str>,
        ttl_s: i64,
    },
    /// As much as there is for a user now, or one more.
    ChargeAll {
        user: Option<&'static str>,
        more: i64,
    },
    Capture {
        hold: Index,
        share: Share,
    },
    Void {
        hold: Index,
    },
    Refund {
        charge: Index,
        share: Share,
    },
    Purchase {
        packs: i64,
    },
    Return {
        purchase: Index,
    },
    /// With an end so many microseconds from now, or from the end of the month.
    Bonus {
        is_free: bool,
        credits: i64,
        ends: Ends,
        comment: &'static str,
    },
    Adjust {
        is_free: bool,
        share: Share,
        comment: &'static str,
    },
    Terms {
        zone: Option<&'static str>,
        allowance: Option<i64>,
    },
    Cap {
        user: &'static str,
        credits: Option<i64>,
    },
    /// Close it when it is open, and the reverse; the wrong way round when `wrong`.
    Closing {
        wrong: bool,
        comment: &'static str,
    },
    /// Close the month so many months ago, or open it again.
    Month {
        ago: i32,
        reopen: bool,
        comment: &'static str,
    },
}

/// When a bonus ends.
#[derive(Clone, Copy, Debug)]
pub enum Ends {
    Never,
    In(i64),
    WithTheMonth,
}

/// An account to be, and what happens to it.
#[derive(Clone, Debug)]
pub struct History {
    pub zone: &'static str,
    pub opened_on: &'static str,
    pub steps: Vec<Step>,
}

impl History {
    /// The same without steps that set the clock back.
    pub fn on_a_good_clock(mut self) -> History {
        self.steps.retain(|step| !matches!(step, Step::Wait(us) if *us < 0) && !matches!(step, Step::SetBack(_)));
        self
    }
}

/// The code of an action.
pub fn action(code: &str) -> ActionCode {
    usage(code, "any").action
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        6 => Just(Told::Now),
        4 => (0_i64..=1_000).prop_map(Told::Ago),
        4 => (any::<Index>(), -1_i64..=1).prop_map(|(index, us)| Told::NearMonthEnd(index, us)),
        1 => (1_i64..DAY_US).prop_map(Told::Future),
        1 => (1_i64..DAY_US).prop_map(Told::BeforeOpening),
    ]
}

fn share() -> impl Strategy<Value = Share> {
    prop_oneof![
        3 => Just(Share::All),
        4 => (0_i64..=1_000).prop_map(Share::Part),
        1 => (1_i64..3).prop_map(Share::Beyond),
    ]
}

fn user() -> impl Strategy<Value = Option<&'static str>> {
    prop_oneof![1 => Just(None), 2 => prop::sample::select(&USERS[..]).prop_map(Some)]
}

/// Mostly there is one.
fn comment() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just("why not"), 1 => Just(" ")]
}

fn what() -> impl Strategy<Value = Wish> {
    let action = || prop::sample::select(&ACTIONS[..]);
    let quantity = || prop_oneof![16 => 1_i64..250, 1 => Just(0), 1 => Just(1_000_001), 1 => Just(1_000_000)];
    let charge = (action(), quantity(), user(), prop::bool::weighted(0.1), prop::bool::weighted(0.2)).prop_map(
        |(action, quantity, user, failed, post_to_open)| Wish::Charge { action, quantity, user, failed, post_to_open },
    );
    let ttl_s =
        prop_oneof![4 => Just(900_i64), 4 => 1_i64..=86_400, 4 => Just(86_400), 1 => Just(0), 1 => Just(86_401)];
    let hold = (action(), quantity(), user(), ttl_s).prop_map(|(action, quantity, user, ttl_s)| Wish::Hold {
        action,
        quantity,
        user,
        ttl_s,
    });
    let all = (user(), 0_i64..=1).prop_map(|(user, more)| Wish::ChargeAll { user, more });
    let capture = (any::<Index>(), share()).prop_map(|(hold, share)| Wish::Capture { hold, share });
    let void = any::<Index>().prop_map(|hold| Wish::Void { hold });
    let refund = (any::<Index>(), share()).prop_map(|(charge, share)| Wish::Refund { charge, share });
    let packs = prop_oneof![12 => 1_i64..3, 1 => Just(0), 1 => Just(100_001)];
    let returned = any::<Index>().prop_map(|purchase| Wish::Return { purchase });
    let ends = prop_oneof![
        1 => Just(Ends::Never),
        1 => Just(Ends::WithTheMonth),
        2 => (-1_i64..100 * DAY_US).prop_map(Ends::In),
    ];
    let bonus = (any::<bool>(), prop_oneof![12 => 1_i64..500, 1 => Just(0)], ends, comment())
        .prop_map(|(is_free, credits, ends, comment)| Wish::Bonus { is_free, credits, ends, comment });
    let adjust = (any::<bool>(), share(), comment()).prop_map(|(is_free, share, comment)| Wish::Adjust {
        is_free,
        share,
        comment,
    });
    let zone = prop::option::of(prop::sample::select(&PLACES[..]).prop_map(|(zone, _)| zone));
    let terms = (zone, prop::option::of(prop_oneof![Just(0_i64), 1_i64..2_000]))
        .prop_map(|(zone, allowance)| Wish::Terms { zone, allowance });
    let cap = (prop::sample::select(&USERS[..]), prop::option::weighted(0.8, 0_i64..2_000))
        .prop_map(|(user, credits)| Wish::Cap { user, credits });
    let closing = (prop::bool::weighted(0.1), comment()).prop_map(|(wrong, comment)| Wish::Closing { wrong, comment });
    let month = (-1_i32..4, prop::bool::weighted(0.3), comment()).prop_map(|(ago, reopen, comment)| Wish::Month {
        ago,
        reopen,
        comment,
    });
    prop_oneof![
        12 => charge, 1 => all, 4 => hold, 4 => capture, 1 => void, 4 => refund, 3 => packs.prop_map(|packs| Wish::Purchase { packs }),
        2 => returned, 2 => bonus, 2 => adjust, 1 => terms, 1 => cap, 1 => closing, 2 => month,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wait = prop_oneof![Just(1), 1..DAY_US, DAY_US..60 * DAY_US, 60 * DAY_US..160 * DAY_US, -2 * HOUR_US..0];
    let price = (prop::sample::select(&ACTIONS[..]), prop::option::weighted(0.9, 0_i64..12), -DAY_US..60 * DAY_US);
    prop_oneof![
        4 => wait.prop_map(Step::Wait),
        3 => (-1_i64..=1).prop_map(Step::WaitForMonthEnd),
        2 => (-1_i64..=1).prop_map(Step::WaitForHoldEnd),
        1 => (1_i64..HOUR_US).prop_map(Step::SetBack),
        24 => (told(), what()).prop_map(|(told, what)| Step::Ask(told, what)),
        3 => (any::<Index>(), any::<bool>()).prop_map(|(index, other)| Step::AskAgain { index, other }),
        1 => price.prop_map(|(action, credits, in_us)| Step::Price { action, credits, in_us }),
        2 => Just(Step::Job),
    ]
}

/// Any history of up to sixty steps.
pub fn history() -> impl Strategy<Value = History> {
    let place = prop::sample::select(&PLACES[..]);
    let steps = prop::collection::vec(step(), 1..60);
    (place, steps).prop_map(|((zone, opened_on), steps)| History { zone, opened_on, steps })
}
