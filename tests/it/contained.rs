//! What runs creditd where nobody looks: the systemd unit and the image, as far as they go without systemd and Docker. Each is
//! read for what it says, and what it starts is started so: with its environment, as nobody in particular, and on a disk
//! that cannot be written but for its own folder.

use crate::support::program;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A machine that is busy with other tests may take so long for what takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);
/// The user of the image, who is as good as any that systemd makes.
const NOBODY: u32 = 65_532;
/// What of the system's libraries the base of the image has.
const LIBRARIES: [&str; 6] =
    ["ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0"];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("cron").join(name)).expect(name)
}

/// The values of a setting of a unit.
fn values<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

/// Whether this machine lets one run a program with a view of the disk and rights of its own.
fn can_contain() -> bool {
    let untested = "units and image in a place of their own; install util-linux, and be root";
    let root = || Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    program("unshare", "CREDITD_REQUIRE_UNSHARE", untested) && root()
}

/// A folder that is the whole disk of what is started in it, and cannot be written but for one folder in it.
struct Place {
    root: tempfile::TempDir,
    /// The folder that can be written, seen from within.
    state: &'static str,
}

impl Place {
    /// A place with creditd and the libraries that it needs.
    fn new(state: &'static str) -> Place {
        let root = tempfile::tempdir().expect("a folder");
        let place = Place { root, state };
        std::fs::set_permissions(place.root.path(), PermissionsExt::from_mode(0o755)).expect("others may look");
        place.copy(Path::new(env!("CARGO_BIN_EXE_creditd")), "/usr/local/bin/creditd");
        for library in libraries() {
            place.copy(&library, &library.display().to_string());
        }
        std::fs::create_dir_all(place.path(state)).expect("a folder");
        chown(place.path(state), Some(NOBODY), Some(NOBODY)).expect("root may");
        std::fs::set_permissions(place.path(state), PermissionsExt::from_mode(0o700)).expect("root may");
        place
    }

    /// What is at `inside`, seen from here.
    fn path(&self, inside: &str) -> PathBuf {
        self.root.path().join(inside.trim_start_matches('/'))
    }

    fn copy(&self, from: &Path, inside: &str) {
        let to = self.path(inside);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(from, to).expect("copied");
    }

    fn write(&self, inside: &str, text: &str) {
        let to = self.path(inside);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::write(to, text).expect("written");
    }

    /// A command line that is run within.
    fn command(&self, line: &[&str], env: &[(&str, &str)]) -> Command {
        let root = self.root.path().display().to_string();
        // Nothing of this reaches beyond the mounts of the new process.
        let within = "mount --bind \"$1\" \"$1\" && mount --bind \"$1$2\" \"$1$2\" && mount -o remount,bind,ro \"$1\" && \
                      root=\"$1\" state=\"$2\" nobody=\"$3\" && shift 3 && \
                      exec unshare --root=\"$root\" --wd=\"$state\" --setuid \"$nobody\" --setgid \"$nobody\" -- \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", within, "sh", &root, self.state, &NOBODY.to_string()]).args(line);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// The libraries that creditd is linked to, which are no more than the image has.
fn libraries() -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_creditd")).output().expect("ldd is there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    let paths: BTreeSet<PathBuf> = paths.collect();
    for path in &paths {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(LIBRARIES.contains(&name), "{name} is not in the image");
    }
    paths.into_iter().collect()
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A daemon that does not outlive its test.
struct Daemon(Child);

impl Daemon {
    /// Stops it as systemd and Docker do, and returns what it said.
    fn stop(mut self) -> String {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill is there").success());
        let exit = self.0.wait().expect("it can be waited for");
        let mut said = String::new();
        self.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(exit.success(), "{exit}: {said}");
        said
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the service manager is told, until it is told this.
#[track_caller]
fn told_until(socket: &UnixDatagram, last: &str) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    while told.last().is_none_or(|said| said != last) {
        let mut message = [0; 200];
        let length = socket.recv(&mut message).expect("the service manager is told more");
        told.push(String::from_utf8_lossy(&message[..length]).trim_end().to_owned());
    }
    told
}

/// What the units start, as they start it, with the credentials of the drop-in.
#[test]
fn the_unit_serves_with_its_credentials_and_stops_when_told() {
    if !can_contain() {
        return;
    }
    let (service, init) = (read("systemd/creditd.service"), read("systemd/creditd-init.service"));
    let credentials = read("systemd/credentials.conf");
    let state = "/var/lib/creditd";
    assert_eq!(values(&service, "WorkingDirectory"), [state]);
    assert_eq!(values(&service, "StateDirectory"), ["creditd"]);
    let place = Place::new(state);
    let settings = read("systemd/creditd.toml");
    let settings: String = settings
        .lines()
        .filter(|line| !line.starts_with("database_url"))
        .fold(String::new(), |all, line| all + line + "\n");
    // Whoever logs in has a password; mail itself goes to files here.
    let login = "[mail.smtp]\nhost = \"smtp.example.com\"\nusername = \"credits@example.com\"\n";
    place.write("/etc/creditd/creditd.toml", &format!("{settings}\n{login}"));
    let folder = "/run/credentials/creditd.service";
    for one in values(&credentials, "LoadCredential") {
        let (name, _) = one.split_once(':').expect("a name and a file");
        let secret = if name == "database-url" { "sqlite:///var/lib/creditd/creditd.db\n" } else { "s3cret\n" };
        place.write(&format!("{folder}/{name}"), secret);
    }
    // Within the folder that can be written, so that it can be bound before the place is closed.
    let socket = UnixDatagram::bind(place.path(state).join("notify")).expect("a socket");
    std::fs::set_permissions(place.path(state).join("notify"), PermissionsExt::from_mode(0o777)).expect("root may");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");

    let watchdog = values(&service, "WatchdogSec")[0].strip_suffix('s').expect("seconds");
    let watchdog = format!("{watchdog}000000");
    let notify = format!("{state}/notify");
    let of_credentials: Vec<(&str, String)> = values(&credentials, "Environment")
        .into_iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name, value.replace("%d", folder)))
        .collect();
    let mut env = vec![
        ("LANG", "C.UTF-8"),
        ("USER", "creditd"),
        ("LOGNAME", "creditd"),
        ("HOME", "/"),
        ("SHELL", "/bin/sh"),
        ("INVOCATION_ID", "0123456789abcdef0123456789abcdef"),
        ("JOURNAL_STREAM", "8:1234"),
        ("SYSTEMD_EXEC_PID", "1"),
        ("STATE_DIRECTORY", state),
        ("CREDENTIALS_DIRECTORY", folder),
        ("NOTIFY_SOCKET", notify.as_str()),
        ("WATCHDOG_USEC", watchdog.as_str()),
        // The tests run on a machine where the port of the unit may be taken.
        ("CREDITD__WEB__LISTEN", "127.0.0.1:0"),
    ];
    env.extend(of_credentials.iter().map(|(name, value)| (*name, value.as_str())));
    let line = |unit| values(unit, "ExecStart")[0].split(' ').collect::<Vec<&str>>();
    let (init, serve) = (line(&init), line(&service));
    done(&mut place.command(&init, &env));
    let daemon = Daemon(place.command(&serve, &env).spawn().expect("it starts"));
    let told = told_until(&socket, "WATCHDOG=1");
    assert_eq!(told.first().map(String::as_str), Some("READY=1"), "{told:?}");
    // Commands are given beside it, as the manual says.
    let doctor = ["/usr/local/bin/creditd", "--config", "/etc/creditd/creditd.toml", "doctor"];
    let said = done(&mut place.command(&doctor, &env));
    assert!(said.contains("Nothing failed"), "{said}");
    let said = daemon.stop();
    told_until(&socket, "STOPPING=1");
    assert!(!said.contains("s3cret"), "{said}");
    for line in said.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON, as nobody watches");
        assert!(!matches!(line["level"].as_str(), Some("WARN" | "ERROR")), "{line}");
    }
}

/// What the image starts, as it starts it.
#[test]
fn the_image_serves_as_nobody_on_a_disk_that_cannot_be_written() {
    if !can_contain() {
        return;
    }
    let dockerfile = read("docker/Dockerfile");
    let (build, last) = dockerfile.rsplit_once("\nFROM ").expect("stages");
    let of = |name: &str| -> Vec<&str> { last.lines().filter_map(|line| line.strip_prefix(name)).collect() };
    let words = |json: &str| serde_json::from_str::<Vec<String>>(json).expect("a list");
    let nobody = format!("{NOBODY}:{NOBODY}");
    assert_eq!(of("USER "), [nobody.as_str()]);
    let state = "/var/lib/creditd";
    assert_eq!((of("WORKDIR "), words(of("VOLUME ")[0])), (vec![state], vec![state.to_owned()]));
    let built = build.matches(" /out/").count();
    let copied: Vec<&str> = of("COPY ").into_iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!((copied, built), (vec!["/usr/local/bin/creditd", state], 2));
    let entry = words(of("ENTRYPOINT ")[0]);
    let line = |more: &[String]| [entry.as_slice(), more].concat();

    let place = Place::new(state);
    let mut env: Vec<(&str, &str)> = of("ENV ").into_iter().filter_map(|pair| pair.split_once('=')).collect();
    assert_eq!(env.iter().find(|(name, _)| *name == "CREDITD__WEB__LISTEN").map(|(_, at)| *at), Some("0.0.0.0:8417"));
    env.push(("CREDITD__WEB__LISTEN", "127.0.0.1:0"));
    fn texts(line: &[String]) -> Vec<&str> {
        line.iter().map(String::as_str).collect()
    }
    let serve = line(&words(of("CMD ")[0]));
    // Without a ledger it says what to do, and makes none.
    let refused = place.command(&texts(&serve), &env).output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(4) && said.contains("creditd init"), "{said}");
    done(&mut place.command(&texts(&line(&["init".to_owned()])), &env));
    let socket = UnixDatagram::bind(place.path(state).join("notify")).expect("a socket");
    std::fs::set_permissions(place.path(state).join("notify"), PermissionsExt::from_mode(0o777)).expect("root may");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let notify = format!("{state}/notify");
    env.push(("NOTIFY_SOCKET", notify.as_str()));
    let daemon = Daemon(place.command(&texts(&serve), &env).spawn().expect("it starts"));
    told_until(&socket, "WATCHDOG=1");
    let said = daemon.stop();
    assert!(said.contains("\"serving\"") && !said.contains("\"ERROR\""), "{said}");
    let mine = std::fs::metadata(place.path(state).join("creditd.db")).expect("the ledger");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&mine), NOBODY);
}
