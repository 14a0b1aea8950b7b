//! The pages in a real browser, where there is one: tests/browser/visit.mjs visits a `creditd serve` over a demo ledger, that of
//! the test of the demo, for a demo takes its time.

use crate::support::program;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const ACCOUNT: &str = "yonder-trails";

/// A process that does not outlive the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let (said, complained) =
        (String::from_utf8_lossy(&stdout).into_owned(), String::from_utf8_lossy(&stderr).into_owned());
    assert!(status.success(), "{command:?}:\n{said}{complained}");
    said
}

fn creditd(folder: &Path, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_creditd"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("CREDITD_NOW", format!("@{}", folder.join("now").display()));
    command.env("CREDITD__WEB__PUBLIC_URL", url).env("CREDITD__WEB__LISTEN", url.trim_start_matches("http://"));
    command
}

/// The folder in which the packages of npm are, made ready.
#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn tools() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let tools = cache.unwrap_or_else(std::env::temp_dir).join("creditd/browser");
    std::fs::create_dir_all(&tools).expect("a folder for packages");
    for file in ["package.json", "visit.mjs"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(file);
        std::fs::copy(from, tools.join(file)).expect("a copy");
    }
    if !tools.join("node_modules/playwright-core").exists() || !tools.join("node_modules/axe-core").exists() {
        output(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&tools));
    }
    tools
}

#[expect(clippy::disallowed_methods, reason = "the environment of a test run is its only setting")]
fn pictures() -> Option<PathBuf> {
    std::env::var_os("CREDITD_PICTURES").map(PathBuf::from)
}

/// The link in a text that begins with this.
fn link_in(text: &str, start: &str) -> String {
    let at = text.find(start).unwrap_or_else(|| panic!("no {start} in {text}"));
    text[at..].split(['"', '\n', ' ', '<']).next().unwrap_or_default().to_owned()
}

/// Visits the demo ledger in `folder`, whose clock stands at `now`.
pub fn visit(folder: &Path, now: &str) {
    for name in ["chromium", "node", "npm"] {
        if !program(name, "CREDITD_REQUIRE_CHROMIUM", "pages in a browser; install it (Debian: chromium nodejs npm)") {
            return;
        }
    }
    std::fs::write(folder.join("now"), now).expect("written");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let url = format!("http://{free}");
    let mut serving = creditd(folder, &url);
    let serving = serving.arg("serve").stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut serving = Serving(serving.expect("it starts"));
    // It listens before it says that it serves; what it says later is read, too, lest it waits for a reader.
    let mut log = BufReader::new(serving.0.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(log.any(|line| line.contains("serving")), "it ended at once");
    std::thread::spawn(move || log.for_each(drop));
    let link = |args: &[&str]| {
        link_in(&output(creditd(folder, &url).args(["link", "-o", "json"]).args(args)), &format!("{url}/enter/"))
    };
    let admins = output(creditd(folder, &url).args(["admin", "list", ACCOUNT, "-o", "csv"]));
    let email = admins.lines().nth(1).and_then(|line| line.split(',').nth(1)).expect("an admin");
    let (admin, platform) = (link(&["--account", ACCOUNT, "--email", email]), link(&["--platform"]));
    output(creditd(folder, &url).args(["email", "preview", "low-credit", "--account", ACCOUNT, "--out", "preview"]));
    let mail = std::fs::read_to_string(folder.join(format!("preview/low-credit-{ACCOUNT}.txt"))).expect("a mail");
    let (enter, end) = (link_in(&mail, &format!("{url}/enter/")), link_in(&mail, &format!("{url}/unsubscribe?t=")));
    let tools = tools();
    let mut visit = Command::new("node");
    visit.arg(tools.join("visit.mjs")).args([&url, ACCOUNT, &admin, &platform, &enter, &end]);
    if let Some(pictures) = pictures() {
        visit.arg(pictures);
    }
    let visited = visit.output().expect("node runs");
    let said = String::from_utf8_lossy(&visited.stdout).into_owned();
    assert!(visited.status.success(), "{said}{}", String::from_utf8_lossy(&visited.stderr));
}
