//! What a cluster is made of: ports, secrets, programs, and the job of every process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use banter_server::settings::{Limits, Origin};
use toml::{Table, Value};

use super::directory::{Directory, turn_log};
use super::job::{Job, Role};
use super::member::Member;
use super::observe::{self, Observe, Watched};
use super::ports::Ports;
use super::probe::Health;
use super::programs::Programs;
use super::record::Record;
use super::{balancer, postgres_server, redis_server, secret};

/// What a cluster is to be.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) directory: Directory,
    pub(crate) listen: SocketAddr,
    pub(crate) public_url: Option<Origin>,
    /// A configuration whose settings hold where the cluster has none of its own.
    pub(crate) config: Option<PathBuf>,
    pub(crate) limits: Limits,
}

/// How every process of a cluster is run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) directory: Directory,
    pub(crate) url: Origin,
    pub(crate) record: Record,
    programs: Programs,
    observe: Option<Observe>,
    ports: Mutex<Ports>,
    listen: SocketAddr,
    /// Where NGINX counts.
    status: SocketAddr,
    redis: SocketAddr,
    redis_password: String,
    postgres: SocketAddr,
    postgres_password: String,
    limits: Limits,
    /// This very program.
    banter: PathBuf,
}

impl Plan {
    /// Chooses ports and makes secrets and the shared configuration.
    ///
    /// # Errors
    /// When something is missing or cannot be written.
    pub(crate) fn make(wanted: Wanted, programs: Programs, mut ports: Ports) -> Result<Self> {
        let directory = wanted.directory;
        let listen = match wanted.listen.port() {
            0 => {
                let port = ports.take("public")?.port();
                SocketAddr::new(wanted.listen.ip(), port)
            }
            _ => wanted.listen,
        };
        let url = wanted.public_url;
        let url = url.unwrap_or_else(|| Origin::of_listener(listen));
        let record = Record::new(directory.record(), url.as_str().to_owned());
        let watched = Watched {
            nginx: ports.take("nginx")?,
            redis: ports.take("redis")?,
            redis_password: secret::keep(&directory.secret("redis"))?,
            postgres: ports.take("postgres")?,
            postgres_password: secret::keep(&directory.secret("postgres"))?,
        };
        let watchers = programs.watchers.clone();
        let observe = watchers
            .map(|it| Observe::make(&directory, it, &mut ports, watched.clone()))
            .transpose()?;
        let plan = Self {
            url,
            record,
            programs,
            observe,
            listen,
            status: watched.nginx,
            redis: watched.redis,
            redis_password: watched.redis_password,
            postgres: watched.postgres,
            postgres_password: watched.postgres_password,
            limits: wanted.limits,
            banter: std::env::current_exe().context("cannot find this program's own file")?,
            ports: Mutex::new(ports),
            directory,
        };
        secret::keep(&plan.directory.secret("auth"))?;
        plan.write_config(wanted.config.as_deref())?;
        Ok(plan)
    }

    /// The configuration of all roles, which `banter queue` and others read too.
    fn write_config(&self, base: Option<&Path>) -> Result<()> {
        let mut table = Table::new();
        if let Some(base) = base {
            let shown = base.display();
            let text = std::fs::read_to_string(base);
            let text = text.with_context(|| format!("cannot read {shown}"))?;
            table = text.parse().with_context(|| shown.to_string())?;
        }
        let root = self.directory.root().display();
        let auth = self.directory.secret("auth");
        let auth = auth.display();
        let (redis, postgres, name) = (self.redis, self.postgres, postgres_server::NAME);
        let (log, data) = (&self.redis_password, &self.postgres_password);
        for (section, key, value) in [
            ("server", "public_url", self.url.as_str().to_owned()),
            ("server", "data_dir", root.to_string()),
            ("auth", "secret_file", auth.to_string()),
            (
                "database",
                "url",
                format!("postgres://{name}:{data}@{postgres}/{name}?sslmode=disable"),
            ),
            ("log", "url", format!("redis://:{log}@{redis}")),
        ] {
            let section = table.entry(section).or_insert(Value::Table(Table::new()));
            if let Some(section) = section.as_table_mut() {
                section.insert(key.to_owned(), Value::String(value));
            }
        }
        let text = format!("# Made by banter cluster up, again at each start.\n\n{table}");
        secret::write(&self.directory.config(), &text)
    }

    /// The one process of this role.
    ///
    /// # Errors
    /// When what it needs cannot be made.
    pub(crate) async fn single(&self, role: Role) -> Result<Member> {
        let (directory, programs) = (&self.directory, &self.programs);
        let job = match role {
            Role::Redis => {
                redis_server::prepare(directory, programs, self.redis, &self.redis_password)?
            }
            Role::Postgres => {
                let password = &self.postgres_password;
                postgres_server::prepare(directory, programs, self.postgres, password).await?
            }
            Role::Nginx => balancer::prepare(directory, programs, self.listen, self.status)?,
            Role::Auth | Role::Gateway | Role::Worker => self.role(role, 1)?,
            _ => {
                let job = self.observe.as_ref().and_then(|it| it.job(role));
                job.with_context(|| format!("this cluster has no {}", role.name()))?
            }
        };
        Ok(self.member(role, role.name().to_owned(), job))
    }

    /// One of our own processes.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn numbered(&self, role: Role, number: usize) -> Result<Member> {
        let job = self.role(role, number)?;
        Ok(self.member(role, numbered(role, number), job))
    }

    fn member(&self, role: Role, name: String, job: Job) -> Member {
        let log = self.directory.log(&name);
        turn_log(&log);
        Member::new(name, role, job, log, self.record.clone())
    }

    fn role(&self, role: Role, number: usize) -> Result<Job> {
        let name = numbered(role, number);
        let (listen, admin) = {
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
            let listen = match role {
                Role::Worker => None,
                _ => Some(ports.take(&name)?),
            };
            (listen, ports.take(&format!("{name}-admin"))?)
        };
        let mut variables = vec![
            ("BANTER_SERVER__ADMIN_LISTEN", admin.to_string().into()),
            ("BANTER_SERVER__DATA_DIR", self.directory.role(&name).into()),
        ];
        if let Some(listen) = listen {
            variables.push(("BANTER_SERVER__LISTEN", listen.to_string().into()));
        }
        Ok(Job {
            program: self.banter.clone(),
            arguments: vec![
                "serve".into(),
                role.name().into(),
                "--config".into(),
                self.directory.config().into(),
            ],
            variables,
            dir: self.directory.root().to_owned(),
            owner: None,
            health: Health::Role(admin),
            listen,
            admin: Some(admin),
        })
    }

    /// Writes down which ports are used.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn note_ports(&self) -> Result<()> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        self.record.ports(ports.taken())
    }

    /// Those that watch the cluster.
    pub(crate) fn watchers(&self) -> &'static [Role] {
        match self.observe {
            Some(_) => &observe::ROLES,
            None => &[],
        }
    }

    /// Where the one that watches is looked at.
    pub(crate) fn watched_at(&self) -> Option<String> {
        self.observe.as_ref().map(Observe::url)
    }

    /// Tells whoever watches of these members.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn watch<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Result<()> {
        self.observe.as_ref().map_or(Ok(()), |it| it.watch(members))
    }

    /// Writes NGINX's configuration for these members.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn balance<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Result<()> {
        balancer::configure(
            &self.directory,
            self.listen,
            self.status,
            &self.limits,
            members,
        )
    }
}

/// A name with a number: `gateway-1`.
pub(crate) fn numbered(role: Role, number: usize) -> String {
    format!("{}-{number}", role.name())
}
