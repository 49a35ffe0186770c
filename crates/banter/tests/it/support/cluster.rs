//! What the processes of a cluster share: a database, a queue, and the NGINX in front of them.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;
use super::fixture::free_address;
use super::member::Member;
use super::servers::{Place, Redis, copy, database, installed, output, put_back};

/// Warnings that a cluster may log: when it begins, and when the machine is busy with other things.
pub(crate) const ALLOWED: [&str; 2] = ["began a new epoch", "in time"];
/// Those that it may log besides when the queue was killed.
pub(crate) const ALLOWED_AFTER_KILL: [&str; 2] = ["Redis", "the bus is away"];

/// The parts of every cluster.
pub(crate) const ROLES: [&str; 5] = ["gateway", "gateway", "auth", "worker", "worker"];

/// See the module. Dropped, everything of it is killed.
#[derive(Debug)]
pub(crate) struct Cluster {
    database: String,
    redis: Redis,
    public: SocketAddr,
    /// The balancer's directory; it is ended with it.
    place: Place,
    balancer: Option<Child>,
}

impl Cluster {
    /// Starts database and queue.
    pub(crate) fn start() -> Self {
        Self {
            database: database(),
            redis: Redis::start(),
            public: free_address(),
            place: Place::new("nginx.pid"),
            balancer: None,
        }
    }

    /// Where people reach it.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.public
    }

    /// Settings of every part.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BANTER_DATABASE__URL", self.database.clone()),
            ("BANTER_LOG__URL", self.redis.url()),
            (
                "BANTER_SERVER__PUBLIC_URL",
                format!("http://{}", self.public),
            ),
            // Disks stall while other tests are built and run.
            ("BANTER_LOG__DEADLINE", "3s".to_owned()),
            (
                "BANTER_AUTH__SECRET",
                "a secret of many characters, for tests".to_owned(),
            ),
        ]
    }

    /// Starts the balancer that `banter nginx-config`, in `command`, describes.
    pub(crate) fn balance(&mut self, members: &[Member], mut command: Command) {
        if self.balancer.is_some() {
            return;
        }
        command.args(["--listen", &self.public.to_string()]);
        for member in members {
            let flag = match member.role {
                Some("gateway") => "--gateway",
                Some("auth") => "--auth",
                _ => continue,
            };
            command.args([flag, &member.listen.to_string()]);
        }
        self.open_to_workers();
        command.arg("--run-dir").arg(self.place.path());
        let config = self.place.path().join("nginx.conf");
        std::fs::write(&config, output(&mut command)).expect("it can be written");
        let nginx = installed("nginx", &[PathBuf::from("/usr/sbin")], "nginx-light");
        let child = Command::new(nginx)
            .args(["-e", "stderr", "-g", "daemon off;", "-c"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        self.balancer = Some(child);
        let since = Instant::now();
        while TcpStream::connect(self.public).is_err() {
            assert!(since.elapsed() < PATIENCE, "NGINX does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Workers of a master that is root are not: they must get to their temporary files.
    fn open_to_workers(&self) {
        use std::os::unix::fs::PermissionsExt as _;

        let permissions = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.place.path(), permissions).expect("it is ours");
    }

    /// Ends the queue as a crash does.
    pub(crate) fn kill_queue(&mut self) {
        self.redis.kill();
    }

    /// Makes the queue forget everything.
    pub(crate) fn empty_queue(&self) {
        self.redis.empty();
    }

    /// Makes the queue answer nobody for so long, as a machine does that hangs.
    pub(crate) fn hang_queue(&self, time: Duration) {
        let ms = time.as_millis().to_string();
        self.redis.command(&["CLIENT", "PAUSE", &ms, "ALL"]);
    }

    /// Copies the database, which nobody uses meanwhile.
    pub(crate) fn copy_database(&self) {
        copy(&self.database);
    }

    /// Puts the copy back in its place.
    pub(crate) fn put_database_back(&self) {
        put_back(&self.database);
    }

    /// Adds a key to those that check tokens.
    pub(crate) fn publish_key(&self, key: &Value) {
        let text = self.redis.command(&["GET", "jwks"]);
        let mut published: Value = serde_json::from_str(&text).expect("JSON");
        published["keys"]
            .as_array_mut()
            .expect("keys")
            .push(key.clone());
        self.redis.command(&["SET", "jwks", &published.to_string()]);
    }

    /// Starts the queue again.
    pub(crate) fn start_queue(&mut self) {
        self.redis.up();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut balancer) = self.balancer.take() {
            // A quick end, which its workers follow: killed, they would go on.
            let pid = i32::try_from(balancer.id()).ok();
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = balancer.wait();
        }
    }
}
