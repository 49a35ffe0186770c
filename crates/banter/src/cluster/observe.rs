//! What watches a cluster: Prometheus with Banter's own rules, Alertmanager, and an exporter for
//! each server of others.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::directory::Directory;
use super::job::{Job, Role};
use super::member::Member;
use super::ports::Ports;
use super::postgres_server::NAME;
use super::probe::Health;
use super::programs::Watchers;
use super::secret;

/// How long samples are kept: a weekend, and what led to it.
const KEPT: &str = "7d";

macro_rules! rules {
    ($name:literal) => {
        (
            concat!($name, ".yml"),
            include_str!(concat!(
                "../../../../deploy/prometheus/rules/",
                $name,
                ".yml"
            )),
        )
    };
}

/// The files that are also deployed by hand: the rules are the same.
const CONFIG: &str = include_str!("../../../../deploy/prometheus/prometheus.yml");
const RULES: [(&str, &str); 6] = [
    rules!("accounts"),
    rules!("gateways"),
    rules!("queue"),
    rules!("recording"),
    rules!("servers"),
    rules!("service"),
];
const ALERTS: &str = include_str!("../../../../deploy/alertmanager/alertmanager.yml");
const TEMPLATE: &str = include_str!("../../../../deploy/alertmanager/templates/banter.tmpl");

/// Everything that watches, in the order in which it starts.
pub(crate) const ROLES: [Role; 6] = [
    Role::RedisExporter,
    Role::PostgresExporter,
    Role::NginxExporter,
    Role::NodeExporter,
    Role::Alertmanager,
    Role::Prometheus,
];

/// What is watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) redis: SocketAddr,
    pub(crate) redis_password: String,
    pub(crate) postgres: SocketAddr,
    pub(crate) postgres_password: String,
    /// Where NGINX counts.
    pub(crate) nginx: SocketAddr,
}

/// How those that watch are run.
#[derive(Debug)]
pub(crate) struct Observe {
    programs: Watchers,
    /// In the order of [`ROLES`].
    addresses: [SocketAddr; ROLES.len()],
    dir: PathBuf,
    watched: Watched,
}

impl Observe {
    /// Chooses ports and writes what does not depend on who is watched.
    ///
    /// # Errors
    /// When something cannot be written, or no port is free.
    pub(crate) fn make(
        directory: &Directory,
        programs: Watchers,
        ports: &mut Ports,
        watched: Watched,
    ) -> Result<Self> {
        let mut addresses = [watched.nginx; ROLES.len()];
        for (address, role) in addresses.iter_mut().zip(ROLES) {
            *address = ports.take(role.name())?;
        }
        let observe = Self {
            programs,
            addresses,
            dir: directory.observe(),
            watched,
        };
        let dir = &observe.dir;
        for folder in ["rules", "targets", "data", "alerts", "alerts/templates"] {
            let path = dir.join(folder);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.with_context(|| format!("cannot make {}", path.display()))?;
        }
        secret::write(&dir.join("prometheus.yml"), CONFIG)?;
        // A rule that this version no longer has must not go on alarming.
        clear(&dir.join("rules"))?;
        for (name, text) in RULES {
            secret::write(&dir.join("rules").join(name), text)?;
        }
        secret::write(&dir.join("alerts/alertmanager.yml"), ALERTS)?;
        secret::write(&dir.join("alerts/templates/banter.tmpl"), TEMPLATE)?;
        Ok(observe)
    }

    /// Where people look at it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address(Role::Prometheus))
    }

    /// How one of [`ROLES`] is run; `None`: it is none of them.
    pub(crate) fn job(&self, role: Role) -> Option<Job> {
        let programs = &self.programs;
        let (program, listen, page) = match role {
            Role::RedisExporter => (&programs.redis, "-web.listen-address", "/"),
            Role::PostgresExporter => (&programs.postgres, "--web.listen-address", "/"),
            Role::NginxExporter => (&programs.nginx, "-web.listen-address", "/"),
            Role::NodeExporter => (&programs.node, "--web.listen-address", "/"),
            Role::Alertmanager => (&programs.alertmanager, "--web.listen-address", "/-/ready"),
            Role::Prometheus => (&programs.prometheus, "--web.listen-address", "/-/ready"),
            _ => return None,
        };
        let address = self.address(role);
        let mut arguments = vec![format!("{listen}={address}").into()];
        arguments.extend(self.arguments(role).into_iter().map(Into::into));
        Some(Job {
            program: program.clone(),
            arguments,
            variables: self.variables(role),
            dir: match role {
                // It looks for the file with the webhook's URL where it runs.
                Role::Alertmanager => self.dir.join("alerts"),
                _ => self.dir.clone(),
            },
            owner: None,
            health: Health::Page(address, page),
            listen: Some(address),
            admin: None,
        })
    }

    fn arguments(&self, role: Role) -> Vec<String> {
        match role {
            Role::NginxExporter => {
                vec![format!(
                    "-nginx.scrape-uri=http://{}/status",
                    self.watched.nginx
                )]
            }
            Role::Alertmanager => vec![
                "--config.file=alertmanager.yml".to_owned(),
                "--storage.path=data".to_owned(),
                // It is alone.
                "--cluster.listen-address=".to_owned(),
            ],
            Role::Prometheus => vec![
                "--config.file=prometheus.yml".to_owned(),
                "--storage.tsdb.path=data".to_owned(),
                format!("--storage.tsdb.retention.time={KEPT}"),
            ],
            _ => Vec::new(),
        }
    }

    /// Secrets, which are not for everybody who may list processes.
    fn variables(&self, role: Role) -> Vec<(&'static str, OsString)> {
        let Watched {
            redis,
            redis_password,
            postgres,
            postgres_password,
            ..
        } = &self.watched;
        match role {
            Role::RedisExporter => vec![
                ("REDIS_ADDR", format!("redis://{redis}").into()),
                ("REDIS_PASSWORD", redis_password.into()),
            ],
            Role::PostgresExporter => {
                let account = format!("{NAME}:{postgres_password}");
                let url = format!("postgresql://{account}@{postgres}/{NAME}?sslmode=disable");
                vec![("DATA_SOURCE_NAME", url.into())]
            }
            _ => Vec::new(),
        }
    }

    /// Tells Prometheus whom to watch; it notices by itself.
    ///
    /// # Errors
    /// When that cannot be written.
    pub(crate) fn watch<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Result<()> {
        let banter = members
            .filter(|member| member.role.is_ours())
            .filter_map(|member| {
                let labels = json!({"role": member.role.name(), "instance": member.name});
                Some(target(member.job.admin?, labels))
            });
        self.write_targets("banter", banter.collect())?;
        for (role, name) in [
            (Role::RedisExporter, "redis"),
            (Role::PostgresExporter, "postgres"),
            (Role::NginxExporter, "nginx"),
            (Role::NodeExporter, "node"),
            (Role::Prometheus, "prometheus"),
            (Role::Alertmanager, "alertmanager"),
        ] {
            let labels = match role {
                Role::Alertmanager => json!({}),
                _ => json!({"instance": name}),
            };
            self.write_targets(name, vec![target(self.address(role), labels)])?;
        }
        Ok(())
    }

    fn write_targets(&self, name: &str, targets: Vec<Value>) -> Result<()> {
        // JSON is YAML too.
        let path = self.dir.join("targets").join(format!("{name}.yml"));
        secret::write(&path, &Value::Array(targets).to_string())
    }

    fn address(&self, role: Role) -> SocketAddr {
        let place = ROLES.iter().position(|it| *it == role).unwrap_or(0);
        self.addresses[place]
    }
}

fn target(address: SocketAddr, labels: Value) -> Value {
    json!({"targets": [address.to_string()], "labels": labels})
}

fn clear(folder: &Path) -> Result<()> {
    let removed = fs::read_dir(folder).and_then(|files| {
        for file in files {
            fs::remove_file(file?.path())?;
        }
        Ok(())
    });
    removed.with_context(|| format!("cannot clear {}", folder.display()))
}
