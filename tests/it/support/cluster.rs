//! A Postgres server for the tests alone: made in a temporary folder when a test first asks for a database, stopped and
//! removed when the test process is gone, however it ended.
//!
//! The server listens on a socket in that folder and nowhere else. What keeps it from outliving the tests is a shell that
//! reads from a pipe whose other end this process holds: when the process ends, even by SIGKILL, the shell reads the end
//! and cleans up. Under `cargo nextest`, where each test is a process, each has a server of its own. So has a test that
//! lets its server crash.
//!
//! Where Postgres is not installed, the tests that need it say so and pass without being run, or fail when
//! `CREDITD_REQUIRE_POSTGRES=1` is set. `CREDITD_POSTGRES_FSYNC=1` lets the server write through to the disk.

use creditd::core::calendar::Instant;
use creditd::store::{Meta, Store};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Where Debian and Homebrew keep servers that are not on the PATH.
const FOLDERS: &[&str] = &["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"];
/// How long a server may take to start on a machine that is busy.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Connections for as many stores as tests run at once, and people who look.
const CONNECTIONS_MAX: u32 = 300;

/// Makes the folder's server and waits for the end of its standard input; each line of it is a signal by which the server
/// stops before it is started again. Interrupts are for the tests, not for the one who cleans up after them. Names sort as people sort them, so that a statement that forgets to sort by bytes is found.
const SUPERVISOR: &str = r#"
trap '' INT TERM HUP
bin=$1; dir=$2; fsync=$3; connections=$4
init() { "$bin/initdb" -D "$dir/data" -U creditd -A trust -E UTF8 --locale=C --no-sync "$@" </dev/null; }
{ init --locale-provider=icu --icu-locale=en || { rm -rf "$dir/data"; init; }; } >"$dir/log" 2>&1
printf 'local all with_password scram-sha-256\nlocal all all trust\n' >"$dir/data/pg_hba.conf"
start() {
    "$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections="$connections" -c autovacuum=off \
        -c fsync="$fsync" -c full_page_writes="$fsync" -c log_min_messages=fatal >>"$dir/log" 2>&1 </dev/null &
    pid=$!
}
start
while read -r signal; do kill -"$signal" $pid; wait $pid; start; done
kill -INT $pid; wait $pid
cd /; rm -rf "$dir"
"#;

/// What the thread that owns the server is asked for.
enum Order {
    /// A new database: empty, or a copy of a new ledger.
    Create { empty: bool, made: oneshot::Sender<String> },
    /// One that is needed no more.
    Drop { name: String },
}

/// A server; the one of this process or a test's own.
pub struct Cluster {
    socket_folder: PathBuf,
    orders: mpsc::UnboundedSender<Order>,
    /// Held for as long as the server is needed.
    supervisor: Mutex<ChildStdin>,
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();

/// The server, started by the first who asks; none where Postgres is not installed.
pub fn cluster() -> Option<&'static Cluster> {
    CLUSTER
        .get_or_init(|| match programs() {
            Some(programs) => Some(start(&programs)),
            None => {
                assert!(
                    !is_set("CREDITD_REQUIRE_POSTGRES"),
                    "Postgres is not installed and CREDITD_REQUIRE_POSTGRES is set"
                );
                // Past the capture of the tests' output: whoever looks at a green run must see what was not tested.
                let said = "NOT TESTED: everything on Postgres; install its server (Debian: postgresql) to test it";
                let _ = writeln!(std::io::stderr().lock(), "\n{said}\n");
                None
            }
        })
        .as_ref()
}

/// A server of a test's own, which may crash; none where Postgres is not installed.
pub fn own_cluster() -> Option<Cluster> {
    cluster()?;
    Some(start(&programs().expect("the server of this process has them")))
}

impl Cluster {
    /// Lets the server stop at once, as if it crashed, and starts it again: no commit under way is answered.
    pub fn restart(&self) {
        let mut supervisor = self.supervisor.lock().expect("a lock");
        supervisor.write_all(b"QUIT\n").expect("the shell is there");
    }

    /// The url of a new database, with a new ledger in it unless it is to be empty.
    pub async fn create_database(&self, empty: bool) -> Database {
        let (made, name) = oneshot::channel();
        assert!(self.orders.send(Order::Create { empty, made }).is_ok(), "the thread of the server is gone");
        let name = name.await.expect("a new database");
        Database { url: url(&self.socket_folder, &name), name, orders: self.orders.clone() }
    }
}

/// A database, dropped with this value.
pub struct Database {
    pub url: String,
    name: String,
    orders: mpsc::UnboundedSender<Order>,
}

impl Drop for Database {
    fn drop(&mut self) {
        // With the server's thread gone, the server goes, too.
        let _ = self.orders.send(Order::Drop { name: std::mem::take(&mut self.name) });
    }
}

fn url(socket_folder: &Path, name: &str) -> String {
    let folder = socket_folder.to_string_lossy().replace('/', "%2F");
    format!("postgres://creditd@{folder}/{name}?sslmode=disable")
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// The folder of the server's programs: the newest of those installed, else what is on the PATH.
pub fn programs() -> Option<PathBuf> {
    let has_programs = |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    let version = |folder: &PathBuf| {
        let digits = folder.to_string_lossy().chars().filter(char::is_ascii_digit).collect::<String>();
        digits.parse::<u64>().unwrap_or(0)
    };
    let installed = FOLDERS
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(has_programs)
        .max_by_key(version);
    #[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
    let path = || std::env::split_paths(&std::env::var_os("PATH")?).find(has_programs);
    installed.or_else(path)
}

fn start(programs: &Path) -> Cluster {
    let folder = tempfile::Builder::new().prefix("creditd-pg-").tempdir_in("/tmp").expect("a temporary folder").keep();
    let mut shell = Command::new("sh");
    // Postgres refuses to run as root.
    if std::fs::metadata(&folder).expect("the folder").uid() == 0 {
        let (uid, gid) = other_user();
        std::os::unix::fs::chown(&folder, Some(uid), Some(gid)).expect("root may give a folder away");
        shell.uid(uid).gid(gid);
    }
    let fsync = if is_set("CREDITD_POSTGRES_FSYNC") { "on" } else { "off" };
    let mut supervisor = shell
        .args(["-c", SUPERVISOR, "creditd-postgres"])
        .args([programs.as_os_str(), folder.as_os_str()])
        .args([fsync, &CONNECTIONS_MAX.to_string()])
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for the tests.
        .process_group(0)
        .spawn()
        .expect("a shell");
    let pipe = supervisor.stdin.take().expect("a pipe");
    let (orders, queue) = mpsc::unbounded_channel();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let socket_folder = folder.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let admin = connect(&mut supervisor, &folder).await;
            make_template(&folder, admin).await;
            let _ = ready.send(());
            serve(&folder, queue).await;
        });
    });
    is_ready.recv().expect("the server of the tests starts");
    Cluster { socket_folder, orders, supervisor: Mutex::new(pipe) }
}

/// The user that Debian makes for the server, else nobody.
fn other_user() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("a list of users");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).expect("a user who is not root")
}

async fn connect(supervisor: &mut Child, folder: &Path) -> PgConnection {
    let url = url(folder, "postgres");
    let mut waited = Duration::ZERO;
    loop {
        let error = match PgConnection::connect(&url).await {
            Ok(connection) => return connection,
            Err(error) => error,
        };
        let ended = supervisor.try_wait().expect("a child of ours");
        if ended.is_some() || waited > START_TIMEOUT {
            let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("the Postgres server of the tests did not start: {error}\n{log}");
        }
        let pause = Duration::from_millis(20);
        tokio::time::sleep(pause).await;
        waited += pause;
    }
}

/// The ledger that new databases are copies of: a copy is made faster than a ledger.
const TEMPLATE: &str = "ledger";

async fn make_template(folder: &Path, mut admin: PgConnection) {
    execute(&mut admin, "CREATE ROLE with_password LOGIN PASSWORD 'right'").await;
    execute(&mut admin, &format!("CREATE DATABASE {TEMPLATE}")).await;
    let store = Store::create(&url(folder, TEMPLATE), META).await.expect("a new ledger");
    store.close().await;
}

/// What is recorded of every ledger in the tests.
pub const META: Meta = Meta { created_at: Instant::from_micros(1_356_998_400_000_000), sandbox: true };

async fn serve(folder: &Path, mut queue: mpsc::UnboundedReceiver<Order>) {
    let mut count = 0;
    while let Some(order) = queue.recv().await {
        // Anew each time: the server may have crashed meanwhile.
        let admin = PgConnection::connect(&url(folder, "postgres")).await;
        match order {
            Order::Create { empty, made } => {
                count += 1;
                let name = format!("test_{count}");
                let template = if empty { "template0" } else { TEMPLATE };
                let mut admin = admin.expect("the server is there");
                execute(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")).await;
                let _ = made.send(name);
            }
            // A server that is gone, or was about to go, takes its databases with it.
            Order::Drop { name } => {
                if let Ok(mut admin) = admin {
                    let _ = sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
                        .execute(&mut admin)
                        .await;
                }
            }
        }
    }
}

async fn execute(admin: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(admin).await.expect(sql);
}
