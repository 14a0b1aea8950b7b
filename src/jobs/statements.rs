//! What both report jobs do: word the statement of a period for every admin who wants it, once.
//!
//! The key of a message names account, period, recipient and version, so a period that is run again writes nothing new. Figures
//! come from the same aggregation as every report.
//!
//! What the statement of a month said is frozen with its messages. When the month is closed to late usage (R14), it is
//! compared with what is true then, once: whoever was told something else gets the next version, which says what has changed. A
//! version has one set of figures, and an admin was told those of the last version that left, or may have. While one is in hand of
//! a deliverer nobody knows, and it is left for the next time.

mod batches;
pub mod foresee;
pub(super) mod preview;
mod wanted;

use self::batches::{Batch, Batches, stated};
use self::wanted::{Knows, Wanted, reported_on, told, whom};
use super::{Done, JobError, Kit, Run, log_written, platform};
use crate::app::{App, Stated};
use crate::core::alert::Levels;
use crate::core::calendar::{Calendar, Instant, Month, next_day};
use crate::core::counting::{counted, grouped};
use crate::core::credits::Credits;
use crate::core::ids::AccountId;
use crate::core::locale::Locale;
use crate::core::outbox::{Mailbox, Message, NoticeKey};
use crate::core::run::{End, Span, Tally};
use crate::core::statement::{
    Breakdown, Changed, DateRange, Group, Grouping, LINES_PER_PERIOD, Lapse, Line, Marks, ReportModel, ReportSpec,
    Said, Sales, Scope,
};
use crate::core::transaction::{Money, Reason};
use crate::notice::{ChartPicture, PacksBought, Period, StatementMail, Templates, TopUse, Tops};
use crate::report::chart::{Frame, Picture, Subject, chart};
use crate::report::{self, Format, RenderError};
use crate::store::{AccountRecord, Admin, ClosedStatement, Statements, StoreError, Version};
use chrono::NaiveDate;
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first version of a statement; corrections count up.
const FIRST_VERSION: u32 = 1;
/// Accounts whose statements are worded and then written together: some megabytes, so that no charge waits long for them.
const ACCOUNTS_AT_ONCE: usize = 100;
/// Accounts that are looked at together: most want no mail of a day.
const ACCOUNTS_LOOKED_AT: usize = 500;
/// What is counted.
const STATEMENTS: &str = "statements";
const STATEMENTS_THERE: &str = "statements_there";
const ACCOUNTS_LEFT: &str = "accounts_left";

/// The period of a statement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reported {
    Month(Month),
    Day(NaiveDate),
}

impl Reported {
    fn range(self) -> Result<DateRange, JobError> {
        Ok(match self {
            Reported::Month(month) => DateRange::of_month(month)?,
            Reported::Day(day) => DateRange::new(day, next_day(day))?,
        })
    }

    /// The instants `[from, to)` in an account's own calendar.
    pub(super) fn bounds(self, calendar: &Calendar) -> (Instant, Instant) {
        match self {
            Reported::Month(month) => (calendar.month_start(month), calendar.month_end(month)),
            Reported::Day(day) => (calendar.day_start(day), calendar.day_end(day)),
        }
    }

    /// The month that begins where the period ends, if one does.
    fn next_month(self, calendar: &Calendar) -> Option<Month> {
        let next = match self {
            Reported::Month(month) => month.next(),
            Reported::Day(day) => Month::of(next_day(day)),
        };
        Some(next).filter(|next| calendar.month_start(*next) == self.bounds(calendar).1)
    }

    fn zone_in(self, calendar: &Calendar) -> Tz {
        let month = match self {
            Reported::Month(month) => month,
            Reported::Day(day) => Month::of(day),
        };
        calendar.terms_in(month).zone
    }

    fn is_wanted_by(self, admin: &Admin) -> bool {
        match self {
            Reported::Month(_) => admin.monthly_report,
            Reported::Day(_) => admin.daily_report,
        }
    }

    fn key(self, account: &AccountId, admin: &Admin, version: u32) -> NoticeKey {
        let (account, recipient) = (account.clone(), admin.email.clone());
        match self {
            Reported::Month(month) => NoticeKey::monthly_statement(account, month, recipient, version),
            Reported::Day(day) => NoticeKey::daily_statement(account, day, recipient, version),
        }
    }
}

/// Where the batch of accounts behind `after` ends that are or were in `zone`. There is always one: the platform report
/// comes with the first.
pub(super) async fn end_of_batch(app: &App, zone: Tz, after: Option<&str>) -> Result<End, StoreError> {
    let first = after.is_none();
    let after = after.map(AccountId::new).transpose()?;
    let limit = app.settings.jobs.batch_accounts;
    let ids = app.store.accounts_in_zone(zone, after.as_ref(), None, limit).await?;
    Ok(match ids.last() {
        None if !first => End::Nothing,
        Some(last) if ids.len() == limit => End::At(last.to_string()),
        _ => End::Rest,
    })
}

/// Words the statements of one period for the accounts of `span` whose zone it was. While one batch is worded, the one before
/// it is written and the one behind it is read.
pub(super) async fn run(
    kit: &Kit,
    reported: Reported,
    zone: Tz,
    span: &Span,
    run: &mut Run<'_>,
) -> Result<Done, JobError> {
    let (mut done, only_shows) = (Done::default(), kit.only_shows(run));
    let (mut written, mut there, mut left) = (0_u64, 0_u64, 0_u64);
    let of_run = OfRun { kit, reported, zone, titles: titles(kit).await?, only_shows };
    let mark = |mark: &Option<String>| mark.as_deref().map(AccountId::new).transpose().map_err(StoreError::from);
    let (after, until) = (mark(&span.after)?, mark(&span.until)?);
    let tells = !only_shows && kit.asked.is_none() && kit.app.store.has_webhooks().await?;
    let mut batches = Batches::new(kit, reported, zone, (after, until), tells);
    let mut before = Worded::default();
    let mut next = batches.next().await?;
    while let Some(Batch { wanted, stated, now }) = next {
        run.check_stop()?;
        let words = word(kit, wanted, stated, reported, &of_run.titles, now);
        let (worded, (added, told), read) = tokio::try_join!(words, of_run.write(before), batches.next())?;
        written += added;
        there += told.asked.saturating_sub(added);
        left += told.left.len() as u64;
        told.tell(&mut done);
        (before, next) = (worded, read);
        (run.progress)(batches.seen(), None);
    }
    let (added, told) = of_run.write(before).await?;
    written += added;
    there += told.asked.saturating_sub(added) + batches.there();
    left += told.left.len() as u64;
    told.tell(&mut done);
    done.tally.add(STATEMENTS, written.cast_signed());
    done.tally.add(STATEMENTS_THERE, there.cast_signed());
    if left > 0 {
        done.tally.add(ACCOUNTS_LEFT, left.cast_signed());
    }
    done.summary = summary(&done.tally, only_shows);
    Ok(done)
}

/// What was done, in one sentence.
pub(super) fn summary(tally: &Tally, dry_run: bool) -> String {
    let would = if dry_run { "to write" } else { "written" };
    let statements = counted(tally.count(STATEMENTS), "statement");
    let mut summary = format!("{statements} {would}, {} there already", grouped(tally.count(STATEMENTS_THERE)));
    if let left @ 1.. = tally.count(ACCOUNTS_LEFT) {
        summary.push_str(&format!(", {}", left_of(left)));
    }
    let (reports, reports_there) = (tally.count(platform::WRITTEN), tally.count(platform::THERE));
    if reports + reports_there > 0 {
        summary.push_str(&format!("; platform report: {reports} {would}, {reports_there} there already"));
    }
    summary
}

/// What is said of accounts that were left.
fn left_of(accounts: u64) -> String {
    let whose = counted(accounts, "account");
    format!("{whose} left for the next time, as earlier versions are being delivered")
}

/// Tells whoever got the statement of a month that was closed since what has changed, and returns what is to be said of that. Every
/// statement is compared once for each time its month is closed; it is compared again when that ended before its end.
pub(super) async fn correct(kit: &Kit, run: &mut Run<'_>, done: &mut Done) -> Result<Vec<String>, JobError> {
    let store = &kit.app.store;
    let (mut written, mut left, mut after) = (0, 0, None);
    loop {
        run.check_stop()?;
        let closed = store.closed_statements(after.as_ref(), ACCOUNTS_AT_ONCE).await?;
        let Some(last) = closed.last().cloned() else {
            let corrected = (written > 0).then(|| counted(written, "corrected statement"));
            return Ok(corrected.into_iter().chain((left > 0).then(|| left_of(left))).collect());
        };
        let (now, titles) = (kit.app.now(), titles(kit).await?);
        let mut by_month: BTreeMap<Month, Vec<ClosedStatement>> = BTreeMap::new();
        for statement in closed {
            by_month.entry(statement.month).or_default().push(statement);
        }
        for (month, compared) in by_month {
            let reported = Reported::Month(month);
            let ids: Vec<AccountId> = compared.iter().map(|statement| statement.account.clone()).collect();
            written += loop {
                run.check_stop()?;
                let wanted = told(store, &ids, reported).await?;
                let stated = stated(kit, &wanted, reported).await?;
                let mut worded = word(kit, wanted, stated, reported, &titles, now).await?;
                let is_done = |statement: &&ClosedStatement| !worded.left.contains(&statement.account);
                worded.statements.read_at = None;
                worded.statements.compared = compared.iter().filter(is_done).cloned().collect();
                if let Some(written) = write(kit, &worded, run.dry_run).await? {
                    worded.tell(done);
                    left += worded.left.len() as u64;
                    break written;
                }
            };
        }
        after = Some(last);
    }
}

/// Messages, and what is frozen with them.
#[derive(Default)]
struct Worded {
    messages: Vec<Message>,
    statements: Statements,
    /// For each account that was told something else, what has changed.
    changes: Vec<String>,
    /// Admins there are to write to, those who know what there is to say included, but not those of accounts that are left.
    asked: u64,
    /// Accounts that admins were perhaps told something else of: somebody has that in hand.
    left: Vec<AccountId>,
}

impl Worded {
    fn tell(&self, done: &mut Done) {
        self.messages.iter().for_each(|message| done.line(format!("{}: {}", message.key.name(), message.subject)));
        self.changes.iter().for_each(|change| done.line(change.as_str()));
        let left = |account: &AccountId| format!("{account}: left, as an earlier version is being delivered just now");
        self.left.iter().for_each(|account| done.line(left(account)));
    }

    fn extend(&mut self, other: Worded) {
        self.messages.extend(other.messages);
        self.statements.versions.extend(other.statements.versions);
        self.statements.superseded.extend(other.statements.superseded);
        self.statements.read_at = self.statements.read_at.or(other.statements.read_at);
        self.changes.extend(other.changes);
        self.asked += other.asked;
        self.left.extend(other.left);
    }
}

/// Writes messages, or in a dry run counts them; `None` where one that they take the place of may be leaving by now, so that they are
/// to be worded anew.
async fn write(kit: &Kit, worded: &Worded, dry_run: bool) -> Result<Option<u64>, JobError> {
    let Worded { messages, statements, .. } = worded;
    if dry_run || (messages.is_empty() && *statements == Statements::default()) {
        return Ok(Some(messages.len() as u64));
    }
    match kit.app.store.write_statements(messages, statements).await {
        Err(StoreError::Overtaken) => Ok(None),
        written => Ok(Some(written.inspect(|_| messages.iter().for_each(log_written))?)),
    }
}

/// What the statements of a run have in common.
struct OfRun<'a> {
    kit: &'a Kit,
    reported: Reported,
    zone: Tz,
    titles: Arc<BTreeMap<String, String>>,
    only_shows: bool,
}

impl OfRun<'_> {
    /// Writes them, worded anew where something left or was written meanwhile; returns how many, and what was written.
    async fn write(&self, mut worded: Worded) -> Result<(u64, Worded), JobError> {
        loop {
            if let Some(written) = write(self.kit, &worded, self.only_shows).await? {
                return Ok((written, worded));
            }
            // Seldom, and large: on the heap. Each time there is more that is in hand or was written, so it ends.
            let mut anew = Box::pin(self.reword(&worded)).await?;
            let is_left = |message: &&Message| message.key.account().is_some_and(|account| anew.left.contains(account));
            let asked = worded.asked - worded.messages.iter().filter(is_left).count() as u64;
            anew.left.append(&mut worded.left);
            worded = Worded { asked, ..anew };
        }
    }

    async fn reword(&self, worded: &Worded) -> Result<Worded, JobError> {
        let (kit, reported, now) = (self.kit, self.reported, self.kit.app.now());
        let ids: BTreeSet<&AccountId> = worded.messages.iter().filter_map(|message| message.key.account()).collect();
        let ids: Vec<AccountId> = ids.into_iter().cloned().collect();
        let (wanted, _) = whom(kit, reported_on(kit, &ids, reported, self.zone, now).await?, reported).await?;
        let stated = stated(kit, &wanted, reported).await?;
        word(kit, wanted, stated, reported, &self.titles, now).await
    }
}

/// What actions are called, by their codes.
async fn titles(kit: &Kit) -> Result<Arc<BTreeMap<String, String>>, JobError> {
    let prices = kit.app.store.prices().await?;
    Ok(Arc::new(prices.iter().map(|action| (action.code.to_string(), action.title.clone())).collect()))
}

/// What has changed since an account was told, in one line.
fn changes(record: &AccountRecord, reported: Reported, before: &Said, said: &Said) -> String {
    let change = |Changed { column, credit_type, before, after }: Changed| {
        let of = credit_type.map(|credit_type| format!("{credit_type} ")).unwrap_or_default();
        format!("{of}{} {} -> {}", column.as_str(), grouped(before), grouped(after))
    };
    let changes: Vec<String> = said.changes_since(before).into_iter().map(change).collect();
    let period = match reported {
        Reported::Month(month) => month.to_string(),
        Reported::Day(day) => day.to_string(),
    };
    format!("{} {period} was told otherwise: {}", record.account.id, changes.join(", "))
}

/// Words the statements of `wanted`, which are in the order of their ids, on all processors.
async fn word(
    kit: &Kit,
    wanted: Vec<Wanted>,
    stated: Vec<Stated>,
    reported: Reported,
    titles: &Arc<BTreeMap<String, String>>,
    now: Instant,
) -> Result<Worded, JobError> {
    if wanted.is_empty() {
        return Ok(Worded::default());
    }
    let wording = Wording {
        spec: ReportSpec::new("Statement", reported.range()?, Grouping::Day, Scope::Account, now)?,
        reported,
        titles: Arc::clone(titles),
        levels: kit.app.settings.alerts.levels.clone(),
        locale: kit.app.settings.mail.locale,
        templates: kit.templates.clone(),
        now,
    };
    let all: Vec<(Wanted, Stated)> = wanted.into_iter().zip(stated).collect();
    let worded = tokio::task::spawn_blocking(move || wording.of_all(all)).await;
    worded.map_err(|error| JobError::Panic(error.to_string()))?
}

/// What all statements of a run have in common.
struct Wording {
    spec: ReportSpec,
    reported: Reported,
    titles: Arc<BTreeMap<String, String>>,
    /// The platform's.
    levels: Levels,
    /// That of accounts without one of their own.
    locale: Locale,
    templates: Templates,
    now: Instant,
}

impl Wording {
    /// The messages of each account, in order.
    fn of_all(&self, all: Vec<(Wanted, Stated)>) -> Result<Worded, JobError> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let share = all.len().div_ceil(processors).max(1);
        let mut all = all.into_iter();
        let shares =
            std::iter::from_fn(|| Some(all.by_ref().take(share).collect::<Vec<_>>()).filter(|s| !s.is_empty()));
        let shares: Vec<Vec<(Wanted, Stated)>> = shares.collect();
        std::thread::scope(|scope| {
            let work = |share: Vec<(Wanted, Stated)>| {
                scope.spawn(move || {
                    share.into_iter().try_fold(Worded::default(), |mut all, (wanted, stated)| {
                        all.extend(self.of(&wanted, stated)?);
                        Ok::<_, JobError>(all)
                    })
                })
            };
            let working: Vec<_> = shares.into_iter().map(work).collect();
            let mut worded = Worded::default();
            for share in working {
                worded.extend(share.join().map_err(|_| JobError::Panic("of a statement".to_owned()))??);
            }
            Ok(worded)
        })
    }

    /// The same statement for each admin of one account who does not know it, with one chart and one workbook for all.
    fn of(&self, wanted: &Wanted, stated: Stated) -> Result<Worded, JobError> {
        let Stated { reading, refused, next_allocated, ending } = stated;
        let bounds = self.reported.bounds(&wanted.record.account.calendar);
        let on_hold = reading.rows.on_hold(bounds);
        let lapses = reading.rows.lapses(bounds, self.reported.next_month(&wanted.record.account.calendar).is_some());
        let mut model = report::make(&self.spec, reading)?;
        model.marks = self.marks(&wanted.record);
        let said = said(&model);
        let number = wanted.version_of(&said);
        let readers = wanted.admins.iter().filter(|(_, knows)| !wanted.has_said(knows, &said));
        if readers.clone().any(|(_, knows)| knows.in_hand.is_some()) {
            return Ok(Worded { left: vec![wanted.record.account.id.clone()], ..Worded::default() });
        }
        let asked = wanted.admins.len() as u64;
        // Nothing has changed for whoever was told the same before another version that did not leave.
        let told = |(admin, knows): &(Admin, Knows)| {
            let before = knows.told.and_then(|version| wanted.said_by(version));
            (admin.clone(), before.filter(|before| *before != said))
        };
        let superseded = readers.clone().filter_map(|(_, knows)| knows.waiting.clone()).collect();
        let readers: Vec<(Admin, Option<Said>)> = readers.map(told).collect();
        if readers.is_empty() {
            return Ok(Worded { asked, ..Worded::default() });
        }
        let told_before = readers.iter().find_map(|(_, told)| told.as_ref());
        let changes = told_before.map(|before| changes(&wanted.record, self.reported, before, &said));
        let mut facts = StatementMail {
            version: number,
            ending,
            ..self.facts(&wanted.record, &model, (on_hold, lapses, refused, next_allocated))?
        };
        let message = |(admin, told): (Admin, Option<Said>)| {
            facts.corrects = told;
            let mailbox = Mailbox { name: admin.name, address: admin.email };
            Ok(self.templates.statement(&facts, &mailbox, self.now)?)
        };
        let messages = readers.into_iter().map(message).collect::<Result<_, JobError>>()?;
        let account = wanted.record.account.id.clone();
        let is_new = wanted.versions.last().is_none_or(|last| last.number < number);
        let versions = match self.reported {
            Reported::Month(month) if is_new => vec![(account, month, Version { number, said })],
            _ => Vec::new(),
        };
        let statements = Statements { versions, compared: Vec::new(), superseded, read_at: Some(self.now) };
        Ok(Worded { messages, statements, changes: changes.into_iter().collect(), asked, left: Vec::new() })
    }

    /// The allowance and the levels in the chart of a month.
    fn marks(&self, record: &AccountRecord) -> Option<Marks> {
        let Reported::Month(month) = self.reported else { return None };
        let allowance = record.account.calendar.terms_in(month).allowance;
        let ladder = record.levels.as_ref().unwrap_or(&self.levels).ladder(allowance);
        let levels = ladder.into_iter().map(|(level, credits)| (level.name().clone(), credits)).collect();
        Some(Marks { month: Some(month), allowance, levels, ahead: None })
    }

    fn facts(
        &self,
        record: &AccountRecord,
        model: &ReportModel,
        (on_hold, lapses, refused, next_allocated): (i128, Vec<Lapse>, BTreeMap<Reason, u64>, Credits),
    ) -> Result<StatementMail, JobError> {
        let account = &record.account;
        let period = match self.reported {
            Reported::Month(month) => Period::Month(month),
            Reported::Day(day) => Period::Day(day),
        };
        let next = self.reported.next_month(&account.calendar);
        let next = next.filter(|next| account.calendar.month_start(*next) <= self.now);
        let said = said(model);
        let locale = record.locale.unwrap_or(self.locale);
        let sales = model.beside.facts.iter().flat_map(|facts| &facts.sales).filter(|(_, sales)| sales.purchases > 0);
        let bought = |(currency, sales): (&String, &Sales)| PacksBought {
            packs: sales.packs,
            credits: sales.credits,
            money: Money { minor: sales.revenue_minor, currency: currency.clone() },
        };
        Ok(StatementMail {
            account: account.id.clone(),
            account_name: account.name.clone(),
            zone: self.reported.zone_in(&account.calendar),
            locale,
            period,
            said,
            on_hold,
            lapses,
            refused,
            bought: sales.map(bought).collect(),
            given: model.beside.facts.as_ref().map(|facts| facts.given).unwrap_or_default(),
            ending: Vec::new(),
            top_actions: self.tops(model, Breakdown::Action),
            top_users: self.tops(model, Breakdown::User),
            chart: picture(model, locale)?,
            workbook: if said.is_quiet() { None } else { workbook(model)? },
            next: next.map(|next| (next, next_allocated)),
            version: FIRST_VERSION,
            corrects: None,
        })
    }

    fn tops(&self, model: &ReportModel, by: Breakdown) -> Tops {
        let Some(top) = model.beside.tops.iter().find(|top| top.by == by) else { return Tops::default() };
        let one = |[.., line]: [Line<'_>; LINES_PER_PERIOD]| {
            let name = match line.group {
                Some(Group::Named(code)) if by == Breakdown::Action => self.titles.get(&**code).map_or(&**code, |t| t),
                Some(Group::Named(user)) => user,
                _ => "",
            };
            use_of(name, &line)
        };
        let is_use = |used: &TopUse| used.count > 0 || !used.credits.is_zero();
        let others = top.rest.last().map(|line| (top.others, use_of("", line)));
        Tops {
            most: top.lines.triples().map(one).filter(is_use).collect(),
            others: others.filter(|(_, sum)| is_use(sum)),
        }
    }
}

/// What a line of a breakdown says of a use.
fn use_of(name: &str, line: &Line<'_>) -> TopUse {
    let count = line.counts.map_or(0, |counts| counts.succeeded);
    TopUse { name: name.to_owned(), count, credits: line.figures.consumed }
}

/// The figures of the statement of one account.
fn said(model: &ReportModel) -> Said {
    let figures = |at: usize| model.totals.get(at).map(|line| line.figures).unwrap_or_default();
    let counts = model.totals.last().and_then(|line| line.counts).unwrap_or_default();
    Said { free: figures(0), purchased: figures(1), counts }
}

/// What was consumed day by day.
fn picture(model: &ReportModel, locale: Locale) -> Result<Option<ChartPicture>, JobError> {
    let frame = Frame::Narrow(locale);
    let Some(drawn) = chart(model, Subject::Consumption, frame) else { return Ok(None) };
    let Picture { png, description, width, height } = report::picture(model, &drawn, frame)?;
    Ok(Some(ChartPicture { png: png.into(), description, width, height }))
}

/// The statement as a workbook; none for figures that no sheet holds, which the mail says itself.
fn workbook(model: &ReportModel) -> Result<Option<Arc<[u8]>>, JobError> {
    match report::render(model, Format::Xlsx, 0) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(RenderError::Unfit(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
