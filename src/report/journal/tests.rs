//! Journals of small ledgers, made by the real rules; `tests/it/journal.rs` has them checked by the real programs.

use super::*;
use crate::core::calendar::{Calendar, Terms, parse_zone};
use crate::core::ids::{ActionCode, Key, Reference, UserId};
use crate::core::ledger::{
    Adjust, Bonus, Call, Cap, Capture, Closing, Hold, Ledger, MonthClosing, NewTerms, Purchase, Refund, Return, Usage,
    Void,
};
use crate::core::price::{Action, PriceMatrix, PriceVersion};
use crate::core::statement::{DateRange, Grouping, LineType, ReportAccount, ReportSpec, Row, Rows, Scope, fold};
use crate::core::transaction::{Kind, Money, Status};

fn at(text: &str) -> Instant {
    Instant::parse(text).expect("an instant")
}

fn key(text: &str) -> Key {
    Key::new(text).expect("a key")
}

fn account(id: &str) -> Account {
    let zone = parse_zone("America/New_York").expect("a zone");
    let terms = Terms { from: "2026-01".parse().expect("a month"), zone, allowance: Credits::new(1_500) };
    let calendar = Calendar::new(terms);
    let opened_at = calendar.month_start(terms.from);
    Account { id: id.parse().expect("an id"), name: "Acme".into(), opened_at, calendar }
}

fn usage(action: &str, quantity: i64, name: &str, comment: &str) -> Usage {
    Usage {
        key: key(name),
        occurred_at: None,
        user: UserId::new("ann").ok(),
        action: ActionCode::new(action).expect("an action"),
        quantity,
        status: Status::Success,
        comment: comment.into(),
        post_to_open: false,
    }
}

/// An action costs 8 credits, a look at it none.
fn prices() -> PriceMatrix {
    let action = |(code, credits): (&str, i64)| Action {
        code: ActionCode::new(code).expect("an action"),
        title: String::new(),
        help: String::new(),
        versions: vec![PriceVersion { effective_from: Instant::from_micros(0), credits: Some(Credits::new(credits)) }],
    };
    [("text-to-image", 8), ("upscale", 0)].into_iter().map(action).collect()
}

/// A ledger and all its rows.
struct Story {
    ledger: Ledger,
}

impl Story {
    fn tell(&mut self, now: &str, call: Call) {
        self.ledger.apply(&call, &prices(), at(now)).expect(now);
    }

    /// The book at `now`: what was due by then is there, and not written.
    fn book(mut self, now: &str) -> Book {
        let now = at(now);
        let last_seq = self.ledger.last_seq;
        self.ledger.roll_over(now, now).expect("small sums");
        let available = self.ledger.available_at(now).expect("small sums");
        let held = self.ledger.held().expect("small sums");
        let rows = self.ledger.rows().to_vec();
        let account = self.ledger.account.clone();
        let month_ends = month_ends(&account, &rows, now);
        Book { account, rows, last_seq, month_ends, at: now, available, held }
    }
}

/// What the plain fold of the core says remained.
fn month_ends(account: &Account, rows: &[Transaction], now: Instant) -> Vec<(Month, Split)> {
    let Account { id, calendar, opened_at, .. } = account;
    let (first, last) = (calendar.month_of(*opened_at), calendar.month_of(now));
    let Ok(range) = DateRange::new(first.first_day(), last.first_day()) else { return Vec::new() };
    let spec = ReportSpec::new("t", range, Grouping::Month, Scope::Account, now).expect("few months");
    let accounts = [ReportAccount { id: id.clone(), calendar: calendar.clone(), opening: Split::ZERO }];
    let row = |row: &Transaction| Row {
        account: 0,
        counts_at: row.kind.counts_at(row.occurred_at),
        kind: row.kind,
        outcome: crate::core::statement::Outcome::of(row.kind, row.status, row.reason),
        name: crate::core::statement::Name::NONE,
        delta: row.delta,
    };
    let model = fold(&spec, &accounts, &rows.iter().map(row).collect::<Rows>()).expect("small sums");
    let remaining = |of| model.lines.iter().filter(move |line| line.credit_type == of);
    remaining(LineType::Free)
        .zip(remaining(LineType::Purchased))
        .map(|(free, purchased)| {
            let left = Split { free: free.figures.remaining, purchased: purchased.figures.remaining };
            (Month::of(free.range.from().date()), left)
        })
        .collect()
}

/// The journal without its head.
fn shown(format: JournalFormat, book: Book) -> String {
    let mut bytes = Vec::new();
    let mut journal = Journal::begin(&mut bytes, format, book.at).expect("a vector takes everything");
    journal.add(book).expect("a vector takes everything");
    journal.finish().expect("a vector takes everything");
    let text = String::from_utf8(bytes).expect("UTF-8");
    let head = text.find(&format!("{CREDIT}\n\n")).expect("the end of the head") + CREDIT.len() + 2;
    text[head..].to_owned()
}

/// A ledger in which every kind of row occurs.
fn every_kind() -> Book {
    let mut story = Story { ledger: Ledger::new(account("acme_1.x")) };
    let purchase = Purchase {
        key: key("purchase:inv-1"),
        reference: Reference::new("inv-1").expect("a reference"),
        occurred_at: None,
        packs: 2,
        pack_credits: Credits::new(2_500),
        money: Money { minor: 5_000, currency: "USD".into() },
        comment: "order 7; paid at once".into(),
    };
    let hold = |name: &str, quantity| Hold {
        key: key(name),
        user: UserId::new("bob").ok(),
        action: ActionCode::new("text-to-image").expect("an action"),
        quantity,
        ttl_seconds: 900,
        comment: String::new(),
    };
    let month = "2026-01".parse().expect("a month");
    let closing = |name: &str, reopen| Closing { key: key(name), reopen, comment: "not paid".into() };
    let close = |name: &str, reopen| MonthClosing { key: key(name), month, reopen, comment: "audit".into() };
    let refund = |name: &str, charge: &str| Refund {
        key: key(name),
        charge: key(charge),
        credits: Some(Credits::new(8)),
        comment: "blurred".into(),
    };
    let cap = Cap { key: key("cap"), user: UserId::new("eve").expect("a user"), credits: Some(Credits::ZERO) };
    story.tell("2026-01-10T15:00:00Z", Call::Charge(usage("text-to-image", 100, "a,b", "für Ann, Bob")));
    story.tell("2026-01-10T15:00:00Z", Call::Charge(usage("upscale", 1, "c", "")));
    story.tell(
        "2026-01-11T15:00:00Z",
        Call::Charge(Usage { status: Status::Failed, ..usage("text-to-image", 1, "d", "") }),
    );
    story.tell("2026-01-12T15:00:00Z", Call::Cap(cap));
    let by_eve = Usage { user: UserId::new("eve").ok(), ..usage("text-to-image", 1, "e", "") };
    story.tell("2026-01-12T16:00:00Z", Call::Charge(by_eve));
    story.tell("2026-01-13T15:00:00Z", Call::Purchase(purchase));
    story.tell("2026-01-13T15:00:00Z", Call::Hold(hold("hold-1", 4)));
    let captured =
        Capture { key: key("take"), hold: key("hold-1"), credits: Some(Credits::new(20)), comment: String::new() };
    story.tell("2026-01-13T15:01:00Z", Call::Capture(captured));
    story.tell("2026-01-14T15:00:00Z", Call::Hold(hold("hold-2", 1)));
    story.tell(
        "2026-01-14T15:01:00Z",
        Call::Void(Void { key: key("void"), hold: key("hold-2"), comment: String::new() }),
    );
    let bonus = Bonus {
        key: key("gift"),
        credit_type: CreditType::Free,
        credits: Credits::new(30),
        expires_at: Some(at("2026-03-10T00:00:00Z")),
        comment: "sorry".into(),
    };
    story.tell("2026-01-15T15:00:00Z", Call::Bonus(bonus));
    story.tell("2026-01-16T15:00:00Z", Call::Refund(refund("back", "a,b")));
    // The night of the last day in New York is the first of the next month in UTC.
    story.tell("2026-02-01T04:59:00Z", Call::Charge(usage("text-to-image", 1, "night", "")));
    story.tell("2026-02-02T15:00:00Z", Call::Charge(usage("text-to-image", 200, "both", "")));
    let late = Usage { occurred_at: Some(at("2026-01-20T15:00:00Z")), ..usage("text-to-image", 2, "late", "") };
    story.tell("2026-02-03T15:00:00Z", Call::Charge(late));
    story.tell("2026-02-04T15:00:00Z", Call::Refund(refund("back-2", "night")));
    story.tell("2026-02-05T15:00:00Z", Call::Month(close("close", false)));
    story.tell("2026-02-05T16:00:00Z", Call::Month(close("reopen", true)));
    let adjust = Adjust {
        key: key("fix"),
        credit_type: CreditType::Purchased,
        credits: Credits::new(11),
        comment: "counted twice".into(),
    };
    story.tell("2026-02-06T15:00:00Z", Call::Adjust(adjust));
    let returned = Return { key: key("ret"), purchase: key("purchase:inv-1"), comment: "not needed".into() };
    story.tell("2026-02-07T15:00:00Z", Call::Return(returned));
    let terms = NewTerms { key: key("move"), zone: None, allowance: Some(Credits::new(100)) };
    story.tell("2026-02-08T15:00:00Z", Call::Terms(terms));
    story.tell("2026-02-09T15:00:00Z", Call::Closing(closing("shut", false)));
    story.tell("2026-02-10T15:00:00Z", Call::Closing(closing("open", true)));
    story.tell(
        "2026-03-01T04:59:59Z",
        Call::Bonus(Bonus {
            key: key("gift-2"),
            credit_type: CreditType::Free,
            credits: Credits::new(9),
            expires_at: None,
            comment: "for the hold".into(),
        }),
    );
    story.tell("2026-03-01T04:59:59Z", Call::Hold(hold("hold-3", 1)));
    story.book("2026-03-01T05:00:00Z")
}

#[test]
fn every_kind_of_row_has_its_place() {
    let book = every_kind();
    let kinds: BTreeSet<Kind> = book.rows.iter().map(|row| row.kind).collect();
    assert_eq!(kinds, Kind::ALL.iter().copied().collect(), "the story leaves a kind out");
    insta::assert_snapshot!(shown(JournalFormat::Hledger, book), @"
    commodity 1000.00 USD
    account assets:payments
    account expenses:adjusted:purchased
    account expenses:consumed:free:text-to-image
    account expenses:consumed:purchased:text-to-image
    account expenses:lapsed:free
    account expenses:refunded:free:text-to-image
    account income:allocated
    account income:bonus:free
    account income:purchased
    account income:returned
    account income:sales
    payee acme_1.x
    account assets:credits:acme_1.x:free
    account assets:credits:acme_1.x:purchased
    account assets:credits:acme_1.x:held:free
    account assets:credits:acme_1.x:held:purchased

    2026-01-01 * (acme_1.x/1) acme_1.x | allocation: free:2026-01
        ; seq:1, kind:allocation, occurred_at:2026-01-01T05:00:00Z, recorded_at:2026-01-10T15:00:00Z
        assets:credits:acme_1.x:free                          1500 CREDIT
        income:allocated                                     -1500 CREDIT

    2026-01-10 * (acme_1.x/2) acme_1.x | charge 100 text-to-image: für Ann, Bob
        ; seq:2, kind:charge, occurred_at:2026-01-10T15:00:00Z, user:ann, action:text-to-image, quantity:100, key:a%2Cb
        assets:credits:acme_1.x:free                          -800 CREDIT
        expenses:consumed:free:text-to-image                   800 CREDIT

    ; 2026-01-10 (acme_1.x/3) charge upscale [seq:3, kind:charge, occurred_at:2026-01-10T15:00:00Z, user:ann, action:upscale, quantity:1, key:c]

    ; 2026-01-11 (acme_1.x/4) charge text-to-image, failed [seq:4, kind:charge, occurred_at:2026-01-11T15:00:00Z, user:ann, action:text-to-image, quantity:1, key:d]

    ; 2026-01-12 (acme_1.x/5) cap: 0 credits a month [seq:5, kind:cap, occurred_at:2026-01-12T15:00:00Z, user:eve, key:cap]

    ; 2026-01-12 (acme_1.x/6) charge text-to-image, refused (user_cap) [seq:6, kind:charge, occurred_at:2026-01-12T16:00:00Z, user:eve, action:text-to-image, quantity:1, key:e]

    2026-01-13 * (acme_1.x/7) acme_1.x | purchase 2 packs: order 7%3B paid at once
        ; seq:7, kind:purchase, occurred_at:2026-01-13T15:00:00Z, quantity:2, key:purchase:inv-1, reference:inv-1
        assets:credits:acme_1.x:purchased                     5000 CREDIT
        income:purchased                                     -5000 CREDIT
        assets:payments                                      50.00 USD
        income:sales                                        -50.00 USD

    2026-01-13 * (acme_1.x/8) acme_1.x | hold 4 text-to-image
        ; seq:8, kind:hold, occurred_at:2026-01-13T15:00:00Z, user:bob, action:text-to-image, quantity:4, key:hold-1
        assets:credits:acme_1.x:free                           -32 CREDIT
        assets:credits:acme_1.x:held:free                       32 CREDIT

    2026-01-13 * (acme_1.x/9) acme_1.x | release 4 text-to-image
        ; seq:9, kind:release, occurred_at:2026-01-13T15:00:00Z, recorded_at:2026-01-13T15:01:00Z, user:bob, action:text-to-image, quantity:4, corrects:8
        assets:credits:acme_1.x:free                            32 CREDIT
        assets:credits:acme_1.x:held:free                      -32 CREDIT

    2026-01-13 * (acme_1.x/10) acme_1.x | charge 4 text-to-image
        ; seq:10, kind:charge, occurred_at:2026-01-13T15:00:00Z, recorded_at:2026-01-13T15:01:00Z, user:bob, action:text-to-image, quantity:4, key:take, corrects:8
        assets:credits:acme_1.x:free                           -20 CREDIT
        expenses:consumed:free:text-to-image                    20 CREDIT

    2026-01-14 * (acme_1.x/11) acme_1.x | hold text-to-image
        ; seq:11, kind:hold, occurred_at:2026-01-14T15:00:00Z, user:bob, action:text-to-image, quantity:1, key:hold-2
        assets:credits:acme_1.x:free                            -8 CREDIT
        assets:credits:acme_1.x:held:free                        8 CREDIT

    2026-01-14 * (acme_1.x/12) acme_1.x | release text-to-image
        ; seq:12, kind:release, occurred_at:2026-01-14T15:00:00Z, recorded_at:2026-01-14T15:01:00Z, user:bob, action:text-to-image, quantity:1, corrects:11
        assets:credits:acme_1.x:free                             8 CREDIT
        assets:credits:acme_1.x:held:free                       -8 CREDIT

    ; 2026-01-14 (acme_1.x/13) charge text-to-image, failed [seq:13, kind:charge, occurred_at:2026-01-14T15:00:00Z, recorded_at:2026-01-14T15:01:00Z, user:bob, action:text-to-image, quantity:1, key:void, corrects:11]

    2026-01-15 * (acme_1.x/14) acme_1.x | bonus: sorry
        ; seq:14, kind:bonus, occurred_at:2026-01-15T15:00:00Z, key:gift
        assets:credits:acme_1.x:free                            30 CREDIT
        income:bonus:free                                      -30 CREDIT

    2026-01-16 * (acme_1.x/15) acme_1.x | refund text-to-image: blurred
        ; seq:15, kind:refund, occurred_at:2026-01-16T15:00:00Z, user:ann, action:text-to-image, key:back, corrects:2
        assets:credits:acme_1.x:free                             8 CREDIT
        expenses:refunded:free:text-to-image                    -8 CREDIT

    2026-01-20 * (acme_1.x/21) acme_1.x | charge 2 text-to-image
        ; seq:21, kind:charge, occurred_at:2026-01-20T15:00:00Z, recorded_at:2026-02-03T15:00:00Z, user:ann, action:text-to-image, quantity:2, key:late
        assets:credits:acme_1.x:free                           -16 CREDIT
        expenses:consumed:free:text-to-image                    16 CREDIT

    2026-01-31 * (acme_1.x/16) acme_1.x | charge text-to-image
        ; seq:16, kind:charge, occurred_at:2026-02-01T04:59:00Z, user:ann, action:text-to-image, quantity:1, key:night
        assets:credits:acme_1.x:free                            -8 CREDIT
        expenses:consumed:free:text-to-image                     8 CREDIT

    2026-01-31 * (acme_1.x/17) acme_1.x | expiry: free:2026-01 lapsed
        ; seq:17, kind:expiry, occurred_at:2026-02-01T05:00:00Z, recorded_at:2026-02-02T15:00:00Z
        assets:credits:acme_1.x:free                          -680 CREDIT
        expenses:lapsed:free                                   680 CREDIT

    2026-01-31 * (acme_1.x/20) acme_1.x | expiry: free:2026-01: late usage takes back a lapse
        ; seq:20, kind:expiry, occurred_at:2026-02-01T05:00:00Z, recorded_at:2026-02-03T15:00:00Z, corrects:17
        assets:credits:acme_1.x:free                            16 CREDIT
        expenses:lapsed:free                                   -16 CREDIT

    2026-01-31 * acme_1.x | what the statement of 2026-01 says remained
        assets:credits:acme_1.x:free                             0 CREDIT = 30 CREDIT
        assets:credits:acme_1.x:purchased                        0 CREDIT = 5000 CREDIT

    2026-02-01 * (acme_1.x/18) acme_1.x | allocation: free:2026-02
        ; seq:18, kind:allocation, occurred_at:2026-02-01T05:00:00Z, recorded_at:2026-02-02T15:00:00Z
        assets:credits:acme_1.x:free                          1500 CREDIT
        income:allocated                                     -1500 CREDIT

    2026-02-02 * (acme_1.x/19) acme_1.x | charge 200 text-to-image
        ; seq:19, kind:charge, occurred_at:2026-02-02T15:00:00Z, user:ann, action:text-to-image, quantity:200, key:both
        assets:credits:acme_1.x:free                         -1530 CREDIT
        expenses:consumed:free:text-to-image                  1530 CREDIT
        assets:credits:acme_1.x:purchased                      -70 CREDIT
        expenses:consumed:purchased:text-to-image               70 CREDIT

    2026-02-04 * (acme_1.x/22) acme_1.x | refund text-to-image: blurred
        ; seq:22, kind:refund, occurred_at:2026-02-04T15:00:00Z, user:ann, action:text-to-image, key:back-2, corrects:16
        assets:credits:acme_1.x:free                             8 CREDIT
        expenses:refunded:free:text-to-image                    -8 CREDIT

    2026-02-04 * (acme_1.x/23) acme_1.x | expiry: free:2026-01 lapsed
        ; seq:23, kind:expiry, occurred_at:2026-02-04T15:00:00.000001Z, recorded_at:2026-02-04T15:00:00Z, corrects:22
        assets:credits:acme_1.x:free                            -8 CREDIT
        expenses:lapsed:free                                     8 CREDIT

    ; 2026-02-05 (acme_1.x/24) month_close: audit [seq:24, kind:month_close, occurred_at:2026-02-05T15:00:00Z, key:close, reference:2026-01]

    ; 2026-02-05 (acme_1.x/25) month_reopen: audit [seq:25, kind:month_reopen, occurred_at:2026-02-05T16:00:00Z, key:reopen, reference:2026-01]

    2026-02-06 * (acme_1.x/26) acme_1.x | adjustment: counted twice
        ; seq:26, kind:adjustment, occurred_at:2026-02-06T15:00:00Z, key:fix
        assets:credits:acme_1.x:purchased                      -11 CREDIT
        expenses:adjusted:purchased                             11 CREDIT

    2026-02-07 * (acme_1.x/27) acme_1.x | return: not needed
        ; seq:27, kind:return, occurred_at:2026-02-07T15:00:00Z, key:ret, reference:inv-1, corrects:7
        assets:credits:acme_1.x:purchased                    -4919 CREDIT
        income:returned                                       4919 CREDIT

    ; 2026-02-08 (acme_1.x/28) terms: America/New_York, 100 free credits a month [seq:28, kind:terms, occurred_at:2026-02-08T15:00:00Z, key:move, reference:2026-03]

    ; 2026-02-09 (acme_1.x/29) closing: not paid [seq:29, kind:closing, occurred_at:2026-02-09T15:00:00Z, key:shut]

    ; 2026-02-10 (acme_1.x/30) reopening: not paid [seq:30, kind:reopening, occurred_at:2026-02-10T15:00:00Z, key:open]

    2026-02-28 * (acme_1.x/31) acme_1.x | bonus: for the hold
        ; seq:31, kind:bonus, occurred_at:2026-03-01T04:59:59Z, key:gift-2
        assets:credits:acme_1.x:free                             9 CREDIT
        income:bonus:free                                       -9 CREDIT

    2026-02-28 * (acme_1.x/32) acme_1.x | hold text-to-image
        ; seq:32, kind:hold, occurred_at:2026-03-01T04:59:59Z, user:bob, action:text-to-image, quantity:1, key:hold-3
        assets:credits:acme_1.x:free                            -8 CREDIT
        assets:credits:acme_1.x:held:free                        8 CREDIT

    2026-02-28 * acme_1.x | what the statement of 2026-02 says remained
        assets:credits:acme_1.x:free                             0 CREDIT = 1 CREDIT
        assets:credits:acme_1.x:purchased                        0 CREDIT = 0 CREDIT

    2026-03-01 ! (acme_1.x/33) acme_1.x | allocation: free:2026-03
        ; seq:33, kind:allocation, occurred_at:2026-03-01T05:00:00Z
        assets:credits:acme_1.x:free                           100 CREDIT
        income:allocated                                      -100 CREDIT

    2026-03-01 * acme_1.x | the balance at 2026-03-01T05:00:00Z
        assets:credits:acme_1.x:free                             0 CREDIT = 101 CREDIT
        assets:credits:acme_1.x:purchased                        0 CREDIT = 0 CREDIT
        assets:credits:acme_1.x:held:free                        0 CREDIT = 8 CREDIT
        assets:credits:acme_1.x:held:purchased                   0 CREDIT = 0 CREDIT
    ");
}

#[test]
fn beancount_has_the_same_journal_in_its_own_words() {
    let mut book = every_kind();
    book.rows.truncate(7);
    book.month_ends.truncate(1);
    insta::assert_snapshot!(shown(JournalFormat::Beancount, book), @r#"
    1970-01-01 commodity USD
    1970-01-01 open Assets:Payments
    1970-01-01 open Expenses:Consumed:Free:Text-to-image CREDIT
    1970-01-01 open Income:Allocated CREDIT
    1970-01-01 open Income:Purchased CREDIT
    1970-01-01 open Income:Sales
    2026-01-01 open Assets:Credits:Acme--u1--dx:Free CREDIT
      account: "acme_1.x"
    2026-01-01 open Assets:Credits:Acme--u1--dx:Purchased CREDIT
      account: "acme_1.x"
    2026-01-01 open Assets:Credits:Acme--u1--dx:Held:Free CREDIT
      account: "acme_1.x"
    2026-01-01 open Assets:Credits:Acme--u1--dx:Held:Purchased CREDIT
      account: "acme_1.x"

    2026-01-01 * "acme_1.x" "allocation: free:2026-01"
      seq: "1"
      kind: "allocation"
      occurred_at: "2026-01-01T05:00:00Z"
      recorded_at: "2026-01-10T15:00:00Z"
      Assets:Credits:Acme--u1--dx:Free                        1500 CREDIT
      Income:Allocated                                       -1500 CREDIT

    2026-01-10 * "acme_1.x" "charge 100 text-to-image: für Ann, Bob"
      seq: "2"
      kind: "charge"
      occurred_at: "2026-01-10T15:00:00Z"
      user: "ann"
      action: "text-to-image"
      quantity: "100"
      key: "a,b"
      Assets:Credits:Acme--u1--dx:Free                        -800 CREDIT
      Expenses:Consumed:Free:Text-to-image                     800 CREDIT

    ; 2026-01-10 (acme_1.x/3) charge upscale [seq:3, kind:charge, occurred_at:2026-01-10T15:00:00Z, user:ann, action:upscale, quantity:1, key:c]

    ; 2026-01-11 (acme_1.x/4) charge text-to-image, failed [seq:4, kind:charge, occurred_at:2026-01-11T15:00:00Z, user:ann, action:text-to-image, quantity:1, key:d]

    ; 2026-01-12 (acme_1.x/5) cap: 0 credits a month [seq:5, kind:cap, occurred_at:2026-01-12T15:00:00Z, user:eve, key:cap]

    ; 2026-01-12 (acme_1.x/6) charge text-to-image, refused (user_cap) [seq:6, kind:charge, occurred_at:2026-01-12T16:00:00Z, user:eve, action:text-to-image, quantity:1, key:e]

    2026-01-13 * "acme_1.x" "purchase 2 packs: order 7; paid at once"
      seq: "7"
      kind: "purchase"
      occurred_at: "2026-01-13T15:00:00Z"
      quantity: "2"
      key: "purchase:inv-1"
      reference: "inv-1"
      Assets:Credits:Acme--u1--dx:Purchased                   5000 CREDIT
      Income:Purchased                                       -5000 CREDIT
      Assets:Payments                                        50.00 USD
      Income:Sales                                          -50.00 USD

    ; what the statement of 2026-01 says remained
    2026-02-01 balance Assets:Credits:Acme--u1--dx:Free                        30 CREDIT
    2026-02-01 balance Assets:Credits:Acme--u1--dx:Purchased                 5000 CREDIT

    ; the balance at 2026-03-01T05:00:00Z
    2026-03-02 balance Assets:Credits:Acme--u1--dx:Free                       101 CREDIT
    2026-03-02 balance Assets:Credits:Acme--u1--dx:Purchased                    0 CREDIT
    2026-03-02 balance Assets:Credits:Acme--u1--dx:Held:Free                    8 CREDIT
    2026-03-02 balance Assets:Credits:Acme--u1--dx:Held:Purchased               0 CREDIT
    "#);
}

#[test]
fn what_two_accounts_share_is_declared_once() {
    for format in JournalFormat::ALL {
        let mut bytes = Vec::new();
        let mut journal = Journal::begin(&mut bytes, *format, at("2026-01-01T05:00:00Z")).expect("a vector");
        for id in ["a", "b"] {
            journal.add(Story { ledger: Ledger::new(account(id)) }.book("2026-01-01T05:00:00Z")).expect("a vector");
        }
        journal.finish().expect("a vector");
        let text = String::from_utf8(bytes).expect("UTF-8").to_lowercase();
        let declared = |line: &str| text.lines().filter(|found| found.contains(line)).count();
        let verb = if *format == JournalFormat::Hledger { "account" } else { "open" };
        assert_eq!(declared(&format!("{verb} income:allocated")), 1, "{text}");
        assert_eq!(declared(&format!("{verb} assets:credits:a:free")), 1, "{text}");
        assert_eq!(declared(&format!("{verb} assets:credits:b:held:free")), 1, "{text}");
    }
}

#[test]
fn text_from_outside_stays_in_its_place() {
    let mut story = Story { ledger: Ledger::new(account("acme")) };
    let comment = "50 %; date:2026-02-02, \"a\" \\ | [2026-03-03]\n2026-01-01 * x\n    a  1 X";
    let usage =
        Usage { user: UserId::new("a\"b\\c,date:2026-02-02;").ok(), ..usage("text-to-image", 1, "k,x:y", comment) };
    story.tell("2026-01-02T15:00:00Z", Call::Charge(usage.clone()));
    story.tell("2026-01-02T15:00:00Z", Call::Charge(Usage { key: key("k2"), status: Status::Failed, ..usage }));
    let book = story.book("2026-01-02T15:00:00Z");
    let of = |format| {
        let text = shown(format, book.clone());
        text.lines()
            .filter(|line| ["2026-03-03", "a\\", "k,", "k%2C"].iter().any(|part| line.contains(part)))
            .fold(String::new(), |all, line| all + line + "\n")
    };
    insta::assert_snapshot!(of(JournalFormat::Hledger), @r#"
    2026-01-02 * (acme/2) acme | charge text-to-image: 50 %25%3B date:2026-02-02, "a" \ | [2026-03-03]%0A2026-01-01 * x%0A    a  1 X
        ; seq:2, kind:charge, occurred_at:2026-01-02T15:00:00Z, user:a"b\c%2Cdate:2026-02-02;, action:text-to-image, quantity:1, key:k%2Cx:y
    ; 2026-01-02 (acme/3) charge text-to-image, failed: 50 %25%3B date:2026-02-02, "a" \ | [2026-03-03]%0A2026-01-01 * x%0A    a  1 X [seq:3, kind:charge, occurred_at:2026-01-02T15:00:00Z, user:a"b\c%2Cdate:2026-02-02;, action:text-to-image, quantity:1, key:k2]
    "#);
    insta::assert_snapshot!(of(JournalFormat::Beancount), @r#"
    2026-01-02 * "acme" "charge text-to-image: 50 %25; date:2026-02-02, \"a\" \\ | [2026-03-03]%0A2026-01-01 * x%0A    a  1 X"
      user: "a\"b\\c,date:2026-02-02;"
      key: "k,x:y"
    ; 2026-01-02 (acme/3) charge text-to-image, failed: 50 %25; date:2026-02-02, "a" \ | [2026-03-03]%0A2026-01-01 * x%0A    a  1 X [seq:3, kind:charge, occurred_at:2026-01-02T15:00:00Z, user:a"b\c,date:2026-02-02;, action:text-to-image, quantity:1, key:k2]
    "#);
}
