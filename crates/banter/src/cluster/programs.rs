//! The servers of others that a cluster needs: where they are, or how to install them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

/// The oldest PostgreSQL that Banter works with.
const POSTGRES_MAJOR_MIN: u32 = 15;

/// Programs that are there.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) redis: PathBuf,
    pub(crate) nginx: PathBuf,
    /// The directory of `postgres` and `initdb`.
    pub(crate) postgres: PathBuf,
    /// Where they are asked for.
    pub(crate) watchers: Option<Watchers>,
}

/// Programs that watch a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Watchers {
    pub(crate) prometheus: PathBuf,
    pub(crate) alertmanager: PathBuf,
    pub(crate) redis: PathBuf,
    pub(crate) postgres: PathBuf,
    pub(crate) nginx: PathBuf,
    pub(crate) node: PathBuf,
}

impl Programs {
    /// Finds them; `redis` may be named, and `data` is PostgreSQL's data directory, whose version
    /// decides if there is one. Those that watch are looked for where they are wanted.
    ///
    /// # Errors
    /// All that is missing, with the command that installs it.
    pub(crate) fn find(redis: Option<&Path>, data: &Path, watched: bool) -> Result<Self> {
        let redis = match redis {
            Some(named) => {
                let found = find(&[named.to_str().unwrap_or_default()]);
                let shown = named.display();
                Some(
                    found
                        .with_context(|| format!("--redis-server: there is no program {shown}"))?,
                )
            }
            None => find(&["redis-server", "valkey-server"]),
        };
        let nginx = find(&["nginx"]);
        let postgres = postgres(data)?;
        let mut missing: Vec<_> = [
            ("redis-server", redis.is_none()),
            ("postgresql", postgres.is_none()),
            ("nginx", nginx.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, missing)| missing.then_some(name))
        .collect();
        let watchers = match watched.then(Watchers::find).transpose() {
            Ok(watchers) => watchers,
            Err(packages) => {
                missing.extend(packages);
                None
            }
        };
        match (redis, nginx, postgres) {
            (Some(redis), Some(nginx), Some(postgres)) if missing.is_empty() => Ok(Self {
                redis,
                nginx,
                postgres,
                watchers,
            }),
            _ => Err(how_to_install(&missing)),
        }
    }
}

impl Watchers {
    /// # Errors
    /// Debian's packages of what is missing.
    fn find() -> Result<Self, Vec<&'static str>> {
        let mut missing = Vec::new();
        let mut look = |package: &'static str, names: &[&str]| {
            let found = find(names);
            if found.is_none() {
                missing.push(package);
            }
            found.unwrap_or_default()
        };
        // Each under the name that Debian gives it, or its authors.
        let mut exporter = |package: &'static str, theirs: &str| look(package, &[package, theirs]);
        let watchers = Self {
            prometheus: exporter("prometheus", "prometheus"),
            alertmanager: exporter("prometheus-alertmanager", "alertmanager"),
            redis: exporter("prometheus-redis-exporter", "redis_exporter"),
            postgres: exporter("prometheus-postgres-exporter", "postgres_exporter"),
            nginx: exporter("prometheus-nginx-exporter", "nginx-prometheus-exporter"),
            node: exporter("prometheus-node-exporter", "node_exporter"),
        };
        if missing.is_empty() {
            return Ok(watchers);
        }
        Err(missing)
    }
}

fn how_to_install(missing: &[&str]) -> anyhow::Error {
    let names = missing.join(" and ");
    let verb = if missing.len() == 1 { "is" } else { "are" };
    let packages = missing.join(" ");
    if find(&["apt-get"]).is_none() {
        return anyhow!("{names} {verb} not installed; install with your package manager");
    }
    let sudo = if rustix::process::geteuid().is_root() {
        ""
    } else {
        "sudo "
    };
    anyhow!("{names} {verb} not installed; install with: {sudo}apt-get install {packages}")
}

/// The first of these programs in the PATH, or where only root's PATH leads.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let all = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    all.into_iter().find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    let found = std::fs::metadata(path);
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The directory of PostgreSQL's programs: that of the data's version, else the newest.
fn postgres(data: &Path) -> Result<Option<PathBuf>> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    let in_path = find(&["postgres"]).and_then(|program| Some(program.parent()?.to_owned()));
    // Debian's and Red Hat's places, which are in nobody's PATH.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter();
    let debian = versions.flatten().flatten().map(|e| e.path().join("bin"));
    let redhat = (POSTGRES_MAJOR_MIN..POSTGRES_MAJOR_MIN + 20)
        .map(|version| PathBuf::from(format!("/usr/pgsql-{version}/bin")));
    for folder in in_path.into_iter().chain(debian).chain(redhat) {
        let programs = [folder.join("postgres"), folder.join("initdb")];
        if programs.iter().all(|program| is_program(program)) {
            found.push((major(&programs[0])?, folder));
        }
    }
    found.sort();
    let kept = std::fs::read_to_string(data.join("PG_VERSION")).ok();
    if let Some(kept) = kept.and_then(|version| version.trim().parse::<u32>().ok()) {
        let same = found.into_iter().find(|(version, _)| *version == kept);
        return match same {
            Some((_, folder)) => Ok(Some(folder)),
            None => bail!(
                "{} was made by PostgreSQL {kept}, which is not installed",
                data.display()
            ),
        };
    }
    match found.pop() {
        Some((version, _)) if version < POSTGRES_MAJOR_MIN => {
            bail!("PostgreSQL {version} is too old; Banter needs {POSTGRES_MAJOR_MIN} or newer")
        }
        newest => Ok(newest.map(|(_, folder)| folder)),
    }
}

/// The major version that a `postgres` tells.
fn major(program: &Path) -> Result<u32> {
    let shown = program.display();
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("cannot run {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| {
        let digits = word.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    version.with_context(|| format!("{shown} does not tell its version"))
}
