//! hledger's journal format, as of 1.25.

use super::entry::{Entry, percent};
use super::{CREDIT, Check};
use crate::core::calendar::Instant;
use crate::core::ids::AccountId;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// What a description would end with: from `;` on, it is a comment, in which there are tags.
const IN_TEXT: &[char] = &[';'];
/// What a tag ends with; another could follow.
const IN_TAG: &[char] = &[','];

/// Begins the file. Without `decimal-mark` 1.500 could be one and a half, or a thousand and a half.
pub(super) fn head(out: &mut impl Write, at: Instant) -> io::Result<()> {
    write!(
        out,
        "; The ledger of creditd as a double-entry journal, at {at}.
;
;   hledger --file FILE check --strict
;
; proves that it adds up: every transaction balances, and so does every account at every balance that is asserted. These
; come from another source than the transactions: what the statement of a month says remained, and at the end the balance
; that creditd keeps beside them.
;
; Credits are counted as those see it who have them. What an account can use is in assets:credits:ACCOUNT:free and
; :purchased, what open holds have reserved in assets:credits:ACCOUNT:held. The other side is the column of statements:
; credits come from income:allocated, income:purchased and income:bonus, less income:returned; they go to
; expenses:consumed, less expenses:refunded, to expenses:lapsed and to expenses:adjusted. Statements count what is held
; as consumed.
;
; Purchases are in money, too: assets:payments is what was paid, income:sales what was sold. A return moves credits only;
; what was paid back is not in creditd's ledger.
;
; Every row of the ledger is here once, account by account, in the order in which rows count and on the local day of the
; account on which they do: a lapse on the last day of its month, credits given back by a hold on the day of the hold.
; A row that moves nothing (an action that was refused, failed or free of charge, new terms, a closing) is a remark. What
; is marked ! has happened, and no job has written it down yet. In texts, % and what would break them is written %XX.

decimal-mark .
commodity 1000. {CREDIT}
"
    )
}

/// Declares currencies, shared places, and what belongs to the account, which begins here.
pub(super) fn declare(
    out: &mut impl Write,
    currencies: &BTreeMap<String, u32>,
    places: &BTreeMap<String, bool>,
    account: &AccountId,
    own: &[String],
) -> io::Result<()> {
    writeln!(out)?;
    for (currency, decimals) in currencies {
        writeln!(out, "commodity 1000.{} {currency}", "0".repeat(usize::try_from(*decimals).unwrap_or(0)))?;
    }
    for place in places.keys() {
        writeln!(out, "account {place}")?;
    }
    writeln!(out, "payee {account}")?;
    for place in own {
        writeln!(out, "account {place}")?;
    }
    Ok(())
}

pub(super) fn entry(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let Entry { date, account, seq, is_written, what, postings, .. } = entry;
    let (what, tags) = (percent(what, IN_TEXT), entry.tag_line(|value| percent(value, IN_TAG)));
    if postings.is_empty() {
        return writeln!(out, "\n; {date} ({account}/{seq}) {what} [{tags}]");
    }
    let mark = if *is_written { '*' } else { '!' };
    writeln!(out, "\n{date} {mark} ({account}/{seq}) {account} | {what}\n    ; {tags}")?;
    for posting in postings {
        let (number, of) = posting.amount();
        writeln!(out, "    {:<46}  {number:>10} {of}", posting.place)?;
    }
    Ok(())
}

/// Within a day the file's order counts, so an assertion stands behind the day's transactions.
pub(super) fn check(out: &mut impl Write, check: &Check<'_>) -> io::Result<()> {
    let Check { day, account, why, balances } = check;
    writeln!(out, "\n{day} * {account} | {why}")?;
    for (place, credits) in balances {
        writeln!(out, "    {place:<46}  {:>10} {CREDIT} = {credits} {CREDIT}", 0)?;
    }
    Ok(())
}
