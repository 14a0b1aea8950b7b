//! `creditd init`: a settings file and an empty ledger, both or none.

use super::Context;
use super::exit::{Exit, Failure};
use super::files::{WholeFile, sync_folder_of};
use crate::app::AppError;
use crate::config::{DATABASE_URL, FILE_NAME, Origin, default_file};
use crate::store::{Meta, Place, Store, StoreError};
use anyhow::Context as _;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make a settings file and an empty ledger
///
/// A settings file that is there already is kept. Where there is a ledger already, nothing is
/// changed. Examples:
///   creditd init
///   creditd init /var/lib/creditd
///   creditd init try --sandbox
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Init {
    /// The folder, which is made when it is missing [default: the working folder]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// For trying things out: the clock may be set with --now, for ever
    #[arg(long)]
    sandbox: bool,
}

impl Init {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        if context.clock().is_set() && !self.sandbox {
            return Err(AppError::NotASandbox.into());
        }
        let file = match (&self.dir, context.config_flag()) {
            (Some(_), Some(_)) => {
                let what = "either a folder or --config says where the settings file shall be, not both";
                return Err(Failure::message(Exit::Usage, what));
            }
            (Some(dir), None) => dir.join(FILE_NAME),
            (None, _) => context.named_config().unwrap_or_else(|| PathBuf::from(FILE_NAME)),
        };
        let mut made = Made::default();
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            made.folder(folder)?;
        }
        let is_kept = file.exists();
        if !is_kept {
            made.settings(&file, context.database_url())?;
        }
        let settings = context.settings_of(Some(&file))?;
        let meta = Meta { created_at: context.clock().now(), sandbox: self.sandbox };
        let ledger = create_ledger(&settings.database_url, meta).await?;
        made.keep();

        context.show(
            "creditd.init/1",
            &[
                ("settings", file.display().to_string().into()),
                ("ledger", ledger.to_string().into()),
                ("sandbox", self.sandbox.into()),
                ("created_at", meta.created_at.into()),
            ],
        )?;
        if is_kept {
            context.say(format_args!("The settings in {} were there already and are kept.", file.display()));
        }
        let cd = match &self.dir {
            Some(dir) => format!("\n  cd {}", dir.display()),
            None => String::new(),
        };
        context.say(format_args!(
            "Next:{cd}\n  \
             {program} account create acme --name Acme --zone Europe/Berlin --admin ann@acme.example\n  \
             {program} charge --account acme --action text-to-image\n  {program} balance\n  {program} serve",
            program = context.program()
        ));
        Ok(())
    }
}

/// Makes what `creditd init` makes here, where nothing says that there is a ledger already or should be one elsewhere: no settings
/// file, no url of a database from anywhere, and no file of the default name. True when it did.
pub(super) async fn make_where_nothing_is(context: &Context) -> Result<bool, Failure> {
    let file = PathBuf::from(FILE_NAME);
    // A clock that is set wants a sandbox, which is made by name.
    if context.named_config().is_some() || file.exists() || context.clock().is_set() {
        return Ok(false);
    }
    let settings = context.settings()?;
    let is_named = settings.shown().iter().any(|one| one.key == DATABASE_URL && one.origin != Origin::Default);
    let is_free = Place::of(&settings.database_url)?.file().is_some_and(|file| !file.exists());
    if is_named || !is_free {
        return Ok(false);
    }
    let mut made = Made::default();
    made.settings(&file, None)?;
    create_ledger(&settings.database_url, Meta { created_at: context.clock().now(), sandbox: false }).await?;
    made.keep();
    Ok(true)
}

/// What was made so far; removed again when dropped before [`Made::keep`].
#[derive(Debug, Default)]
struct Made {
    folder: Option<PathBuf>,
    settings: Option<PathBuf>,
}

impl Made {
    fn folder(&mut self, folder: &Path) -> Result<(), Failure> {
        if !folder.exists() {
            std::fs::create_dir_all(folder).with_context(|| format!("the folder {} was not made", folder.display()))?;
            self.folder = Some(folder.to_owned());
        }
        Ok(())
    }

    fn settings(&mut self, path: &Path, database_url: Option<&str>) -> Result<(), Failure> {
        // A path on the command line is seen from here, one in the file from the file's folder.
        let url = match database_url {
            Some(url) => Some(match Place::of(url)? {
                Place::File(path) => format!("sqlite://{}", std::path::absolute(path)?.display()),
                Place::Server { .. } => url.to_owned(),
            }),
            None => None,
        };
        let live: Vec<(&str, &str)> = url.iter().map(|url| ("database_url", url.as_str())).collect();
        // The url of a server may have a password in it.
        let is_server = url.as_deref().map(Place::of).transpose()?.is_some_and(|place| place.file().is_none());
        let mut file = if is_server { WholeFile::create_private(path)? } else { WholeFile::create(path)? };
        file.write_all(default_file(&live)?.as_bytes())?;
        file.add()?;
        self.settings = Some(path.to_owned());
        Ok(())
    }

    fn keep(mut self) {
        (self.folder, self.settings) = (None, None);
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // What cannot be removed does no harm: the next `init` takes it as its own.
        let _ = self.settings.take().map(std::fs::remove_file);
        let _ = self.folder.take().map(std::fs::remove_dir);
    }
}

/// Makes the ledger: all of it or nothing.
async fn create_ledger(url: &str, meta: Meta) -> Result<Place, Failure> {
    match Place::of(url)? {
        Place::File(path) => create_file(&std::path::absolute(path)?, meta).await,
        place @ Place::Server { .. } => {
            Store::create(url, meta).await?.close().await;
            Ok(place)
        }
    }
}

/// Makes the file under another name and gives it its own when it is complete, so that whoever finds a ledger finds a
/// whole one.
async fn create_file(path: &Path, meta: Meta) -> Result<Place, Failure> {
    let place = Place::File(path.to_owned());
    if path.exists() {
        return Err(StoreError::Exists { place }.into());
    }
    let not_made = || format!("the ledger {} was not made", path.display());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let unfinished = tempfile::Builder::new().prefix(".creditd-init-").tempdir_in(folder).with_context(not_made)?;
    let file = unfinished.path().join("ledger.db");
    Store::create(&format!("sqlite://{}", file.display()), meta).await?.close().await;
    match tempfile::TempPath::try_from_path(file).with_context(not_made)?.persist_noclobber(path) {
        Ok(()) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Exists { place }.into());
        }
        Err(error) => return Err(anyhow::Error::from(error.error).context(not_made()).into()),
    }
    sync_folder_of(path);
    Ok(place)
}
