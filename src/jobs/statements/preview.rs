//! A statement to look at, as the jobs would word it; nothing is written.

use super::wanted::{Knows, Wanted};
use super::{FIRST_VERSION, Reported, Worded, stated, titles, word};
use crate::core::credits::Credits;
use crate::core::outbox::Message;
use crate::core::statement::Said;
use crate::jobs::{JobError, Kit};
use crate::store::{AccountRecord, Admin, Version};

/// What a made-up action took that was told late.
const LATE_CREDITS: i64 = 10;

/// The statement that `record`'s account would get for a period, as it reads now. A `corrected` one corrects what was said last, or, where
/// that was the same, what would have been said without one action: `None` where there was none.
pub(in crate::jobs) async fn preview(
    kit: &Kit,
    record: AccountRecord,
    reader: Admin,
    reported: Reported,
    corrected: bool,
) -> Result<Option<Message>, JobError> {
    let told = match (corrected, reported) {
        (true, Reported::Month(month)) => {
            let account = &record.account.id;
            kit.app.store.statement_versions(std::slice::from_ref(account), month).await?.remove(account)
        }
        _ => None,
    };
    let first =
        Wanted { record: record.clone(), admins: vec![(reader.clone(), Knows::default())], versions: Vec::new() };
    let mut first = of_one(kit, first, reported).await?;
    let Some((.., Version { said, .. })) = first.statements.versions.first().filter(|_| corrected) else {
        return Ok(first.messages.pop());
    };
    let told = told.and_then(|mut versions| versions.pop()).map(|version| version.said);
    let before = told.filter(|told| told != said).unwrap_or_else(|| without_an_action(said));
    let versions = vec![Version { number: FIRST_VERSION, said: before }];
    let knows = Knows { told: Some(FIRST_VERSION), ..Knows::default() };
    let corrects = Wanted { record, admins: vec![(reader, knows)], versions };
    Ok(of_one(kit, corrects, reported).await?.messages.pop())
}

async fn of_one(kit: &Kit, wanted: Wanted, reported: Reported) -> Result<Worded, JobError> {
    let (wanted, titles) = (vec![wanted], titles(kit).await?);
    let stated = stated(kit, &wanted, reported).await?;
    word(kit, wanted, stated, reported, &titles, kit.app.now()).await
}

/// What was said as if one action less had been known: its credits were still there, or lapsed with the month.
fn without_an_action(said: &Said) -> Said {
    let mut before = *said;
    let figures = if before.free.consumed.is_zero() { &mut before.purchased } else { &mut before.free };
    let took = LATE_CREDITS.min(figures.consumed.get());
    if took > 0 {
        let more = |credits: Credits| Credits::new(credits.get() + took);
        figures.consumed = Credits::new(figures.consumed.get() - took);
        match figures.lapsed.is_zero() {
            true => figures.remaining = more(figures.remaining),
            false => figures.lapsed = more(figures.lapsed),
        }
        before.counts.succeeded = before.counts.succeeded.saturating_sub(1);
    }
    before
}
