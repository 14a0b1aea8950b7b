//! `creditd transactions`: the log (R7), whole or in part, and usage that is told later.

use super::account::find;
use super::args::Moment;
use super::exit::{Exit, Failure};
use super::files::{WholeFile, agreed, ending};
use super::import::ImportArgs;
use super::output::{Cell, Column, Layout, OutputMode, RecordWriter, stdout};
use super::{Context, args, journal};
use crate::app::App;
use crate::app::import::UsageImport;
use crate::core::calendar::Instant;
use crate::core::counting::counted_are;
use crate::core::ids::{AccountId, ActionCode, Key, Reference, UserId};
use crate::core::transaction::{Kind, Reason, Status, Transaction, touched, words};
use crate::report::journal::JournalFormat;
use crate::store::{Cursor, LogFilter, Store};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Rows read at once.
const PAGE_ROWS: usize = 5_000;
/// Accounts whose old rows are laid out at once.
const PAGE_ACCOUNTS: usize = 1_000;
const SCHEMA: &str = "creditd.transactions/1";

/// The transaction log: list, export, import
#[derive(Debug, clap::Subcommand)]
pub(super) enum Transactions {
    List(List),
    Export(Export),
    /// Charge past usage from a CSV file with the columns occurred_at, account, user, action, status, comment, key
    ///
    /// A file is all or nothing: when one row is bad, nothing is imported. Rows that are there already change nothing, so
    /// an import that was interrupted is finished by running it again.
    Import(Import),
}

impl Transactions {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Transactions::List(command) => command.run(context).await,
            Transactions::Export(command) => command.run(context).await,
            Transactions::Import(Import { file, post_to_open }) => {
                file.run(context, &UsageImport { post_to_open }).await
            }
        }
    }
}

/// A file of usage.
#[derive(Debug, clap::Args)]
pub(super) struct Import {
    #[command(flatten)]
    file: ImportArgs,
    /// Count usage of months that are closed at the beginning of the first open one, instead of refusing it
    #[arg(long)]
    post_to_open: bool,
}

/// List transactions, newest first
///
/// Example: creditd transactions list --account acme --from 2013-01-01 --to 2013-02-01 --status failed
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// From this instant or day on; days are the account's, without an account UTC's
    #[arg(long, value_name = "DATE|INSTANT")]
    from: Option<Moment>,
    /// Before this instant or day
    #[arg(long, value_name = "DATE|INSTANT")]
    to: Option<Moment>,
    /// Only by this user
    #[arg(long)]
    user: Option<UserId>,
    /// Only of this action
    #[arg(long)]
    action: Option<ActionCode>,
    /// Only of this kind
    #[arg(long, value_parser = args::word(Kind::ALL, Kind::as_str))]
    kind: Option<Kind>,
    /// Only with this status
    #[arg(long, value_parser = args::word(Status::ALL, Status::as_str))]
    status: Option<Status>,
    /// As the log read at this instant: what was recorded later does not count
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<Instant>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_parser = args::limit)]
    limit: usize,
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let app = context.app().await?;
        let record = match &self.account {
            Some(id) => Some(find(app, id).await?),
            None => None,
        };
        let calendar = record.as_ref().map(|record| &record.account.calendar);
        let List { account, from, to, user, action, kind, status, as_of, limit } = self;
        app.check_as_of(as_of)?;
        let [from, to] = [from, to].map(|moment| moment.map(|moment| moment.instant(calendar)));
        if let Some((from, to)) = from.zip(to).filter(|(from, to)| from >= to) {
            let what = format!("--from ({from}) is not before --to ({to}), which ends the range without being in it");
            return Err(Failure::message(Exit::Usage, what));
        }
        let filter = LogFilter { account, from, to, user, action, kind, status, recorded_until: as_of };
        let rows = app.log_newest(&filter, limit.saturating_add(1)).await?;

        // A table has room for what people look at; every other form has everything.
        let has_room_for = |name: &str| match name {
            ACCOUNT => filter.account.is_none(),
            KEY => context.layout().width.is_none_or(|width| width >= KEY_TERMINAL_MIN),
            _ => true,
        };
        let is_shown = |field: &Field| !context.is_for_people() || (field.in_tables && has_room_for(field.name));
        let fields: Vec<&Field> = FIELDS.iter().filter(|field| is_shown(field)).collect();
        let columns: Vec<Column> = fields.iter().map(|field| field.column()).collect();
        let mut list = context.list(SCHEMA, &columns)?;
        for (account, row) in rows.iter().take(limit) {
            list.row(fields.iter().map(|field| (field.cell)(account, row)).collect())?;
        }
        list.finish()?;
        context.say_how_many(rows.len(), limit, "There are no such transactions.");
        Ok(())
    }
}

/// Write the whole log, by account and in order, or the ledger as a double-entry journal
///
/// The file appears under its name when it is complete. A journal is for somebody else's program to prove that the ledger
/// adds up. Examples:
///
///   creditd transactions export --out log.csv
///
///   creditd transactions export --out ledger.journal && hledger --file ledger.journal check --strict
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The file; - is stdout
    #[arg(long, default_value = "-", value_name = "FILE")]
    out: PathBuf,
    /// The form: csv, json, ndjson, or a journal for hledger or beancount. --output and the file's ending (.csv, .json, .ndjson,
    /// .journal, .beancount) say it, too, and must not say another one; else it is csv
    #[arg(long, value_name = "FORM", value_parser = args::word(ExportForm::ALL, ExportForm::as_str), hide_possible_values = true)]
    format: Option<ExportForm>,
    /// Only of this account
    #[arg(long)]
    account: Option<AccountId>,
    /// As the log read at this instant: what was recorded later does not count
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<Instant>,
}

words! {
    /// What an export is written as.
    ExportForm {
        /// The log, comma-separated, with a head.
        Csv = "csv",
        /// The log as one JSON document.
        Json = "json",
        /// The log, one JSON object per line.
        Ndjson = "ndjson",
        /// A journal for hledger.
        Hledger = "hledger",
        /// A journal for Beancount.
        Beancount = "beancount",
    }
}

impl ExportForm {
    /// The form that `--format`, `--output` and the file's ending agree on; CSV where there is none of them.
    fn choose(format: Option<ExportForm>, output: Option<OutputMode>, out: &Path) -> Result<ExportForm, Failure> {
        let by_output = match output {
            Some(OutputMode::Csv) => Some(ExportForm::Csv),
            Some(OutputMode::Json) => Some(ExportForm::Json),
            Some(OutputMode::Ndjson) => Some(ExportForm::Ndjson),
            Some(OutputMode::Table) => {
                let forms: Vec<&str> = ExportForm::ALL.iter().map(|form| form.as_str()).collect();
                let what = format!("a table is for people; export with --format {}", forms.join(", "));
                return Err(Failure::message(Exit::Usage, what));
            }
            None => None,
        };
        let by_ending = ending(out).and_then(ExportForm::of_ending);
        let said = [
            (format!("--format {}", format.unwrap_or(ExportForm::Csv)), format),
            (format!("--output {}", by_output.unwrap_or(ExportForm::Csv)), by_output),
            (format!("the ending of {}", out.display()), by_ending),
        ];
        Ok(agreed(&said)?.unwrap_or(ExportForm::Csv))
    }

    fn of_ending(ending: &str) -> Option<ExportForm> {
        match ending {
            "journal" => Some(ExportForm::Hledger),
            word => ExportForm::from_word(word),
        }
    }
}

impl Export {
    async fn run(self, context: &Context) -> Result<(), Failure> {
        let form = ExportForm::choose(self.format, context.output(), &self.out)?;
        let app = context.app().await?;
        if let Some(id) = &self.account {
            find(app, id).await?;
        }
        app.check_as_of(self.as_of)?;
        if self.out == Path::new("-") {
            self.write(context, app, stdout(), form).await?;
            return Ok(());
        }
        // A pipe opens when somebody reads it; whoever is told to stop meanwhile does so.
        let out = self.out.clone();
        let begun = tokio::task::spawn_blocking(move || WholeFile::create(&out)).await;
        let mut file = begun.map_err(anyhow::Error::from)??;
        let rows = self.write(context, app, &mut file, form).await?;
        file.replace()?;
        context.say(format_args!("{} in {}.", counted_are(rows, "transaction"), self.out.display()));
        Ok(())
    }

    async fn write(&self, context: &Context, app: &App, out: impl Write, form: ExportForm) -> Result<u64, Failure> {
        let progress = context.progress("exporting");
        let total = match (&self.account, self.as_of) {
            (None, None) => Some(app.store.count_transactions().await?),
            _ => None,
        };
        let mut progress = |written| progress.set(written, total);
        let journal = match form {
            ExportForm::Csv => return self.write_log(app, out, OutputMode::Csv, &mut progress).await,
            ExportForm::Json => return self.write_log(app, out, OutputMode::Json, &mut progress).await,
            ExportForm::Ndjson => return self.write_log(app, out, OutputMode::Ndjson, &mut progress).await,
            ExportForm::Hledger => JournalFormat::Hledger,
            ExportForm::Beancount => JournalFormat::Beancount,
        };
        journal::write(app, self.account.as_ref(), self.as_of, journal, out, &mut progress).await
    }

    async fn write_log(
        &self,
        app: &App,
        out: impl Write,
        mode: OutputMode,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, Failure> {
        let columns: Vec<Column> = FIELDS.iter().map(Field::column).collect();
        let mut list = RecordWriter::new(out, Layout { mode, width: None }, SCHEMA, &columns)?;
        let mut written = 0_u64;
        let chosen = self.account.as_ref().map(std::slice::from_ref);
        if app.store.openings(chosen).await?.is_empty() {
            written = self.write_rows(&app.store, self.account.as_ref(), &mut list, written, progress).await?;
        } else {
            // Of old rows that are in sealed files alone, those of some accounts at a time are laid out.
            let mut pages = app.store.pages(chosen, PAGE_ACCOUNTS);
            while let Some(ids) = pages.next().await? {
                let whole = app.whole(Some(&ids)).await?;
                written = self.write_rows(&whole.store, None, &mut list, written, progress).await?;
            }
        }
        list.finish()?;
        Ok(written)
    }

    /// Writes the rows in `store` of `account`, or of all, behind those that are `written`; returns how many these are then.
    async fn write_rows(
        &self,
        store: &Store,
        account: Option<&AccountId>,
        list: &mut RecordWriter<impl Write>,
        mut written: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, Failure> {
        let filter = LogFilter { account: account.cloned(), recorded_until: self.as_of, ..LogFilter::default() };
        let mut after: Option<Cursor> = None;
        loop {
            let page = store.log_page(&filter, after.as_ref(), PAGE_ROWS).await?;
            for (account, row) in &page {
                list.row(FIELDS.iter().map(|field| (field.cell)(account, row)).collect())?;
            }
            written += page.len() as u64;
            progress(written);
            let Some((account, row)) = page.into_iter().next_back() else { return Ok(written) };
            after = Some(Cursor { account, seq: row.seq });
        }
    }
}

const ACCOUNT: &str = "account";
const KEY: &str = "key";
/// Narrower terminals have no room for keys, in characters.
const KEY_TERMINAL_MIN: u16 = 180;

/// A column of the log.
struct Field {
    name: &'static str,
    is_number: bool,
    in_tables: bool,
    cell: fn(&AccountId, &Transaction) -> Cell,
}

impl Field {
    const fn column(&self) -> Column {
        if self.is_number { Column::number(self.name) } else { Column::text(self.name) }
    }
}

const fn text(name: &'static str, in_tables: bool, cell: fn(&AccountId, &Transaction) -> Cell) -> Field {
    Field { name, is_number: false, in_tables, cell }
}

const fn number(name: &'static str, in_tables: bool, cell: fn(&AccountId, &Transaction) -> Cell) -> Field {
    Field { name, is_number: true, in_tables, cell }
}

/// The log's columns. `credits`, `free` and `purchased` are what a charge took, and the signed change of all else;
/// `balance` is after the row, in order of recording.
const FIELDS: &[Field] = &[
    text(ACCOUNT, true, |account, _| account.as_str().into()),
    number("seq", false, |_, row| row.seq.into()),
    text("occurred_at", true, |_, row| row.occurred_at.into()),
    text("kind", true, |_, row| row.kind.as_str().into()),
    text("user", true, |_, row| row.user.as_ref().map(UserId::as_str).into()),
    text("action", true, |_, row| row.action.as_ref().map(ActionCode::as_str).into()),
    number("quantity", true, |_, row| row.quantity.into()),
    number("credits", true, |_, row| row.credits().into()),
    number("free", true, |_, row| row.parts().free.into()),
    number("purchased", true, |_, row| row.parts().purchased.into()),
    text("type", true, |_, row| touched(row.delta).as_str().into()),
    text("status", true, |_, row| row.status.as_str().into()),
    text("reason", true, |_, row| row.reason.map(Reason::as_str).into()),
    text("comment", true, |_, row| row.comment.as_str().into()),
    number("balance", true, |_, row| row.balance.total().into()),
    text(KEY, true, |_, row| row.key.as_ref().map(Key::as_str).into()),
    number("balance_free", false, |_, row| row.balance.free.into()),
    number("balance_purchased", false, |_, row| row.balance.purchased.into()),
    text("recorded_at", false, |_, row| row.recorded_at.into()),
    text("expires_at", false, |_, row| row.expires_at.into()),
    number("unit_price", false, |_, row| row.unit_price.into()),
    text("reference", false, |_, row| row.reference.as_ref().map(Reference::as_str).into()),
    number("price_minor", false, |_, row| row.money.as_ref().map(|money| money.minor).into()),
    text("currency", false, |_, row| row.money.as_ref().map(|money| money.currency.as_str()).into()),
    number("corrects", false, |_, row| row.corrects.into()),
];
