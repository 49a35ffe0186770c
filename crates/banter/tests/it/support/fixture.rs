//! A running chat, and what a test may do to it. The promises are tested against every kind.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{ALLOWED, ALLOWED_AFTER_KILL, Cluster, ROLES};
use super::contract::Contract;
use super::http::{Answer, Connection, Request};
use super::logs;
use super::member::{Log, Member};
use super::person::Person;
use super::seed::Seed;
use super::socket::Socket;
use super::{PASSWORD, Ran, banter};

/// What the chat is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One process with its own database file.
    Embedded,
    /// Two gateways, two workers and an auth process behind NGINX, over PostgreSQL and Redis.
    Cluster,
}

/// What a kind of chat promises beyond what all promise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capabilities {
    /// The level that an `ack` tells.
    pub(crate) level: &'static str,
    /// How long a change may take to reach every socket.
    pub(crate) settling: Duration,
    /// The status of a message sent with `Prefer: respond-async`.
    pub(crate) respond_async: u16,
    /// Processes that hold sockets, each with its own limits.
    pub(crate) gateways: usize,
}

/// Makes one test of each function for every kind of chat.
macro_rules! for_every_kind {
    ($($promise:ident),* $(,)?) => {
        mod embedded {
            $(
                #[test]
                fn $promise() {
                    super::$promise($crate::support::fixture::Kind::Embedded);
                }
            )*
        }

        mod cluster {
            $(
                #[test]
                fn $promise() {
                    super::$promise($crate::support::fixture::Kind::Cluster);
                }
            )*
        }
    };
}
pub(crate) use for_every_kind;

/// Makes one test of each function for a chat in one process, and says why a cluster is left out.
macro_rules! for_one_process {
    ($($promise:ident: $why:literal),* $(,)?) => {
        mod one_process {
            $(
                #[doc = $why]
                #[test]
                fn $promise() {
                    super::$promise($crate::support::fixture::Kind::Embedded);
                }
            )*
        }
    };
}
pub(crate) use for_one_process;

/// How a chat is to be started.
#[derive(Debug)]
pub(crate) struct Setup {
    kind: Kind,
    variables: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
    /// A command and its arguments that start the server in a narrower place.
    wrapper: Vec<String>,
    expected: Vec<&'static str>,
    allowed: Vec<&'static str>,
}

impl Setup {
    /// Sets `section.key`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<String>) -> Self {
        let variable = format!("BANTER_{}", key.to_uppercase().replace('.', "__"));
        self.variables.push((variable, value.into()));
        self
    }

    /// Where the data are kept; else in a directory of its own.
    pub(crate) fn data_dir(mut self, path: &Path) -> Self {
        self.data_dir = Some(path.to_owned());
        self
    }

    /// Starts the server through another command.
    pub(crate) fn through(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&part| part.to_owned()).collect();
        self
    }

    /// Warnings that contain this text may be logged.
    pub(crate) fn allow_log(mut self, text: &'static str) -> Self {
        self.allowed.push(text);
        self
    }

    /// Warnings that contain this text are part of the test, and must be logged.
    pub(crate) fn expect_log(mut self, text: &'static str) -> Self {
        self.expected.push(text);
        self
    }

    /// Starts it.
    #[track_caller]
    pub(crate) fn start(self) -> Fixture {
        let mut fixture = self.prepare();
        fixture.start();
        fixture
    }

    /// Makes everything ready for its processes.
    pub(crate) fn prepare(self) -> Fixture {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (members, cluster) = match self.kind {
            Kind::Embedded => (vec![Member::new(None)], None),
            Kind::Cluster => {
                let members = ROLES.map(|role| Member::new(Some(role)));
                (members.into(), Some(Cluster::start()))
            }
        };
        Fixture {
            data_dir: self
                .data_dir
                .clone()
                .unwrap_or_else(|| dir.path().join("data")),
            dir,
            setup: self,
            members,
            cluster,
            log: Log::default(),
            contract: None,
        }
    }
}

/// An address that stays free while the server is down: outside the range from which the system
/// takes ports for outgoing connections.
pub(crate) fn free_address() -> SocketAddr {
    // Nobody may listen on it yet, and still it is another test's.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut seed = Seed::unrepeatable();
    loop {
        let port = 10_240 + u16::try_from(seed.below(20_000)).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() && given.insert(port) {
            return address;
        }
    }
}

/// A running chat. Dropped, it is killed, and its log is held against what may be in it.
#[derive(Debug)]
pub(crate) struct Fixture {
    setup: Setup,
    dir: TempDir,
    data_dir: PathBuf,
    /// Those that answer people first.
    members: Vec<Member>,
    cluster: Option<Cluster>,
    log: Log,
    contract: Option<&'static Contract>,
}

impl Fixture {
    /// A chat with other settings than the default ones.
    pub(crate) const fn setup(kind: Kind) -> Setup {
        Setup {
            kind,
            variables: Vec::new(),
            data_dir: None,
            wrapper: Vec::new(),
            expected: Vec::new(),
            allowed: Vec::new(),
        }
    }

    /// A chat with the default settings.
    #[track_caller]
    pub(crate) fn of(kind: Kind) -> Self {
        Self::setup(kind).start()
    }

    /// A chat in one process.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::of(Kind::Embedded)
    }

    pub(crate) const fn capabilities(&self) -> Capabilities {
        match self.setup.kind {
            Kind::Embedded => Capabilities {
                level: "stored",
                settling: Duration::ZERO,
                respond_async: 201,
                gateways: 1,
            },
            Kind::Cluster => Capabilities {
                level: "queued",
                settling: Duration::from_secs(2),
                respond_async: 202,
                gateways: 2,
            },
        }
    }

    /// Where people reach it.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match &self.cluster {
            Some(cluster) => cluster.address(),
            None => self.members[0].listen,
        }
    }

    /// Where operators reach it.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.members[0].admin)
    }

    /// The place of the data.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where people reach it, with the documents that it is held to.
    pub(crate) fn site(&self) -> Site {
        Site {
            address: self.address(),
            contract: self.contract.expect("it was started"),
        }
    }

    /// Sends a request; the answer keeps what the document promises.
    #[track_caller]
    pub(crate) fn call(&self, request: &Request) -> Answer {
        self.site().call(request)
    }

    /// Sends a request to the operators' address.
    #[track_caller]
    pub(crate) fn admin(&self, request: &Request) -> Answer {
        Connection::open(self.members[0].admin).call(request)
    }

    /// Makes an account.
    #[track_caller]
    pub(crate) fn register(&self, username: &str) -> Person {
        Person::register(self.site(), username)
    }

    /// Makes accounts.
    #[track_caller]
    pub(crate) fn people<const N: usize>(&self, usernames: [&str; N]) -> [Person; N] {
        usernames.map(|username| self.register(username))
    }

    /// Runs a command beside the server, on the same data.
    pub(crate) fn command(&self, arguments: &[&str]) -> Ran {
        let mut command = self.prepare(arguments);
        Ran::from(command.output().expect("it starts"))
    }

    fn prepare(&self, arguments: &[&str]) -> Command {
        let mut command = banter(self.dir.path(), arguments);
        command
            .envs(self.cluster.iter().flat_map(Cluster::variables))
            .envs(self.setup.variables.iter().map(|(k, v)| (k, v)))
            .env("BANTER_SERVER__DATA_DIR", &self.data_dir);
        command
    }

    fn serve(&self, role: Option<&str>) -> Command {
        let mut plain = self.prepare(&["serve"]);
        plain.args(role);
        let Some((wrapper, arguments)) = self.setup.wrapper.split_first() else {
            return plain;
        };
        let mut wrapped = Command::new(wrapper);
        wrapped.args(arguments).arg(plain.get_program());
        wrapped.args(plain.get_args()).current_dir(self.dir.path());
        for (variable, value) in plain.get_envs() {
            match value {
                Some(value) => wrapped.env(variable, value),
                None => wrapped.env_remove(variable),
            };
        }
        wrapped
    }

    /// Starts the server, which is not running, and waits until it can serve.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.start_queue();
        }
        for number in 0..self.members.len() {
            if !self.members[number].is_running() {
                let command = self.serve(self.members[number].role);
                self.members[number].spawn(command, &self.log);
            }
        }
        for member in &mut self.members {
            if let Err(why) = member.ready() {
                let log = self.log.lock().expect("no reader panics");
                panic!("{why}, {log:?}");
            }
        }
        let describe = self.prepare(&["nginx-config"]);
        if let Some(cluster) = &mut self.cluster {
            cluster.balance(&self.members, describe);
        }
        let contract = Contract::of(&mut Connection::open(self.address()));
        self.contract = Some(contract);
        // Gateways send one socket on to a new one that has had none, to see that it is reached.
        for gateway in self.addresses("gateway") {
            Socket::open(gateway, contract).drop_connection();
        }
    }

    /// Where the parts of this role answer people.
    pub(crate) fn addresses(&self, role: &str) -> Vec<SocketAddr> {
        let members = self.members.iter();
        let of_role = members.filter(|member| member.role == Some(role));
        of_role.map(|member| member.listen).collect()
    }

    /// Ends all parts of this role.
    #[track_caller]
    pub(crate) fn end(&mut self, role: &str, signal: Signal) {
        let members = self.members.iter_mut();
        for member in members.filter(|member| member.role == Some(role)) {
            member.signal(signal);
            member.wait();
        }
    }

    /// Starts all parts of this role, which are not running.
    pub(crate) fn spawn(&mut self, role: &str) {
        for number in 0..self.members.len() {
            if self.members[number].role == Some(role) {
                let command = self.serve(self.members[number].role);
                self.members[number].spawn(command, &self.log);
            }
        }
    }

    /// Waits until all parts of this role can serve.
    #[track_caller]
    pub(crate) fn ready(&mut self, role: &str) {
        let members = self.members.iter_mut();
        for member in members.filter(|member| member.role == Some(role)) {
            member.ready().unwrap_or_else(|why| panic!("{why}"));
        }
    }

    /// Empties the queue.
    pub(crate) fn empty_queue(&self) {
        self.cluster.as_ref().expect("a cluster").empty_queue();
    }

    /// Makes the queue answer nobody for so long.
    pub(crate) fn hang_queue(&self, time: Duration) {
        self.cluster.as_ref().expect("a cluster").hang_queue(time);
    }

    /// Copies the database of a cluster that is down.
    pub(crate) fn copy_database(&self) {
        self.cluster.as_ref().expect("a cluster").copy_database();
    }

    /// Puts the copy back, while the cluster is down.
    pub(crate) fn put_database_back(&self) {
        let cluster = self.cluster.as_ref().expect("a cluster");
        cluster.put_database_back();
    }

    /// Adds a key to those that check tokens, for gateways that start afterwards.
    pub(crate) fn publish_key(&self, key: &Value) {
        self.cluster.as_ref().expect("a cluster").publish_key(key);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.members[0].pid()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        for member in &self.members {
            member.signal(signal);
        }
    }

    /// Waits until the server has ended; tells how, the worst first.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = self.members.iter_mut().map(Member::wait);
        let worst = ended.max_by_key(|status| !status.success());
        worst.expect("it has a process")
    }

    /// Ends it as an operator does.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// Ends it as an operator does, and starts it again.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Ends it as a power failure of its processes does: `kill -9`, the queue among them.
    #[track_caller]
    pub(crate) fn kill(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.kill_queue();
            self.setup.allowed.extend(ALLOWED_AFTER_KILL);
        }
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Resident memory of the largest process that holds sockets, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let holders = self.members.iter();
        let holders = holders.filter(|member| matches!(member.role, None | Some("gateway")));
        holders.map(Member::memory).max().expect("one of them")
    }

    /// The value of a metric without labels, or the sum over all labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.sum(|series| series.split('{').next() == Some(name))
    }

    /// The value of one series, labels and all; the sum over all processes.
    #[track_caller]
    pub(crate) fn series(&self, name: &str) -> f64 {
        self.sum(|series| series == name)
    }

    fn sum(&self, is_meant: impl Fn(&str) -> bool) -> f64 {
        let text: String = self.scrapes().concat();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| line.rsplit_once(' ').expect("a sample"));
        let values = samples.filter(|(series, _)| is_meant(series));
        let values = values.map(|(_, value)| value.parse::<f64>().expect("a number"));
        values.sum()
    }

    /// The metrics of every process that answers.
    pub(crate) fn scrapes(&self) -> Vec<String> {
        let scrape = |member: &Member| {
            let mut connection = Connection::try_open(member.admin).ok()?;
            Some(connection.call(&Request::get("/metrics")).text())
        };
        self.members.iter().filter_map(scrape).collect()
    }

    /// Lines of the log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no reader panics").clone()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.members.clear();
        if self.cluster.is_some() {
            self.setup.allowed.extend(ALLOWED);
        }
        let log = self.log();
        if std::thread::panicking() {
            let from = log.len().saturating_sub(30);
            eprintln!("the server's log ends with:\n{}", log[from..].join("\n"));
            return;
        }
        logs::check(&log, &self.setup.expected, &self.setup.allowed);
    }
}

/// Where a chat is reached, and what it is held to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) contract: &'static Contract,
}

impl Site {
    /// Sends a request; the answer keeps what the document promises.
    #[track_caller]
    pub(crate) fn call(&self, request: &Request) -> Answer {
        let answer = Connection::open(self.address).call(request);
        self.contract.check_answer(request, &answer);
        answer
    }

    /// Sends a request to a server that may be away; the answer keeps what the document promises.
    #[track_caller]
    pub(crate) fn try_call(&self, request: &Request) -> Option<Answer> {
        let mut connection = Connection::try_open(self.address).ok()?;
        let answer = connection.try_call(request).ok()?;
        self.contract.check_answer(request, &answer);
        Some(answer)
    }

    /// Registers or logs in.
    #[track_caller]
    pub(crate) fn enter(&self, how: &str, username: &str) -> Answer {
        let credentials: Value = json!({"username": username, "password": PASSWORD});
        self.call(&Request::post(format!("/v1/auth/{how}")).json(&credentials))
    }
}
