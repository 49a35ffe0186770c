//! Starts the processes of a cluster, changes them as ordered, and ends them in good order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::job::Role;
use super::member::{Member, Members, Order, State};
use super::plan::{Plan, numbered};
use super::say;
use super::status::{Process, Status};

/// Longest start of one process: a database that recovers from a crash needs its time.
const START_PATIENCE: Duration = Duration::from_secs(120);
/// Deaths in a row after which a start is given up.
const STILLBORN_MAX: u32 = 3;
/// Roles in the order in which they end: who watches, for an end is no outage; whoever serves
/// people; what keeps data last.
const ENDING: [Role; 12] = [
    Role::Prometheus,
    Role::Alertmanager,
    Role::RedisExporter,
    Role::PostgresExporter,
    Role::NginxExporter,
    Role::NodeExporter,
    Role::Gateway,
    Role::Worker,
    Role::Auth,
    Role::Nginx,
    Role::Postgres,
    Role::Redis,
];

/// How many of each there are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) auths: usize,
    pub(crate) gateways: usize,
    pub(crate) workers: usize,
}

/// Tells whoever gave an order how it goes.
pub(crate) type Tell<'a> = &'a (dyn Fn(String) + Send + Sync);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Supervisor {
    plan: Plan,
    members: Mutex<Members>,
    /// Held by whoever changes the cluster: one change at a time.
    changing: tokio::sync::Mutex<()>,
    stopping: CancellationToken,
}

impl Supervisor {
    pub(crate) fn new(plan: Plan, stopping: CancellationToken) -> Self {
        Self {
            plan,
            members: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            stopping,
        }
    }

    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When something does not get ready, and what its log says.
    pub(crate) async fn start(&self, counts: Counts) -> Result<()> {
        let _changing = self.changing.lock().await;
        // What cannot be made is found out before anything runs.
        let redis = self.plan.single(Role::Redis).await?;
        let postgres = self.plan.single(Role::Postgres).await?;
        let data = vec![self.add(redis)?, self.add(postgres)?];
        for member in &data {
            self.run(member).await?;
        }
        self.ready(data).await?;
        let mut ours = Vec::new();
        for (role, count) in [
            (Role::Auth, counts.auths),
            (Role::Gateway, counts.gateways),
            (Role::Worker, counts.workers),
        ] {
            for number in 1..=count {
                ours.push(self.add(self.plan.numbered(role, number)?)?);
            }
        }
        for member in &ours {
            self.run(member).await?;
        }
        self.ready(ours).await?;
        let nginx = self.plan.single(Role::Nginx).await?;
        self.plan
            .balance(self.all().iter().map(|member| &**member))?;
        let nginx = self.add(nginx)?;
        self.run(&nginx).await?;
        self.ready(vec![nginx]).await?;
        self.observe().await?;
        self.plan.note_ports()
    }

    /// Starts those that watch, where they are wanted.
    async fn observe(&self) -> Result<()> {
        self.watch()?;
        let mut watchers = Vec::new();
        for role in self.plan.watchers() {
            let watcher = self.add(self.plan.single(*role).await?)?;
            self.run(&watcher).await?;
            watchers.push(watcher);
        }
        self.ready(watchers).await
    }

    fn watch(&self) -> Result<()> {
        self.plan.watch(self.all().iter().map(|member| &**member))
    }

    /// Where the one that watches is looked at.
    pub(crate) fn watched_at(&self) -> Option<String> {
        self.plan.watched_at()
    }

    /// Where a gateway shows how it and all others do.
    pub(crate) fn status_page(&self) -> Option<SocketAddr> {
        let all = self.all();
        let mut gateways = all.iter().filter(|it| it.role == Role::Gateway);
        gateways.next()?.job.admin
    }

    /// What it looks like.
    pub(crate) fn status(&self) -> Status {
        Status {
            url: self.plan.url.as_str().to_owned(),
            data_dir: self.plan.directory.root().display().to_string(),
            supervisor: std::process::id(),
            processes: self
                .all()
                .iter()
                .map(|member| Process::of(member))
                .collect(),
        }
    }

    /// Asks the cluster to stop, as the first signal does.
    pub(crate) fn ask_to_stop(&self) {
        self.stopping.cancel();
    }

    /// Kills one process; it is started again.
    pub(crate) async fn kill(&self, name: &str, tell: Tell<'_>) -> Result<()> {
        let member = self.one(name)?;
        let Some(pid) = member.seen().pid else {
            bail!("{} does not run", member.name);
        };
        member.order(Order::Kill).await;
        member.until(|seen| seen.pid != Some(pid)).await;
        tell(format!("{} (process {pid}) killed", member.name));
        Ok(())
    }

    /// Ends processes in good order; they stay away.
    pub(crate) async fn stop(&self, name: &str, order: Order, tell: Tell<'_>) -> Result<()> {
        let _changing = self.changing.lock().await;
        for member in self.named(name)? {
            if order == Order::Drain {
                let text = "cannot drain; auths, gateways and workers can";
                ensure!(member.role.is_ours(), "{} {text}", member.name);
            }
            member.order(order).await;
            member.until(|seen| seen.state == State::Stopped).await;
            tell(format!("{} stopped", member.name));
        }
        Ok(())
    }

    /// Starts processes that were stopped.
    pub(crate) async fn begin(&self, name: &str, tell: Tell<'_>) -> Result<()> {
        let _changing = self.changing.lock().await;
        for member in self.named(name)? {
            self.run(&member).await?;
            self.ready(vec![member.clone()]).await?;
            tell(format!("{} is ready", member.name));
        }
        Ok(())
    }

    /// Restarts processes, one after the other: the next one once the last is ready.
    pub(crate) async fn restart(&self, name: &str, tell: Tell<'_>) -> Result<()> {
        let _changing = self.changing.lock().await;
        for member in self.named(name)? {
            let since = Instant::now();
            member.stop().await;
            let stopped = since.elapsed();
            self.run(&member).await?;
            self.ready(vec![member.clone()]).await?;
            let ready = since.elapsed().saturating_sub(stopped);
            tell(format!(
                "{} stopped in {:.1} s, ready again {:.1} s later",
                member.name,
                stopped.as_secs_f64(),
                ready.as_secs_f64()
            ));
        }
        Ok(())
    }

    /// Makes there be so many of a role: more are ready before people are sent to them, fewer get
    /// nobody new before they drain.
    pub(crate) async fn scale(&self, role: Role, count: usize, tell: Tell<'_>) -> Result<()> {
        let _changing = self.changing.lock().await;
        let present: Vec<_> = self.of(role);
        let mut added = Vec::new();
        for number in 1..=count {
            let name = numbered(role, number);
            if !present.iter().any(|member| member.name == name) {
                added.push(self.add(self.plan.numbered(role, number)?)?);
            }
        }
        for member in &added {
            self.run(member).await?;
        }
        if let Err(error) = self.ready(added.clone()).await {
            for member in &added {
                member.stop().await;
            }
            self.remove(&added);
            return Err(error);
        }
        for member in &added {
            tell(format!("{} is ready", member.name));
        }
        let stay: Vec<_> = (1..=count).map(|number| numbered(role, number)).collect();
        let surplus: Members = self
            .of(role)
            .into_iter()
            .filter(|member| !stay.contains(&member.name))
            .collect();
        self.balance(&surplus).await?;
        for member in surplus.iter().rev() {
            member.stop().await;
            tell(format!("{} drained and stopped", member.name));
        }
        self.remove(&surplus);
        self.watch()?;
        self.plan.note_ports()?;
        tell(format!("{}s: {count}", role.name()));
        Ok(())
    }

    /// Whether there is anything to end.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Drains and ends everything that runs.
    pub(crate) async fn shut_down(&self) {
        self.stopping.cancel();
        for role in ENDING {
            let mut ending = JoinSet::new();
            for member in self.of(role) {
                ending.spawn(async move { member.stop().await });
            }
            ending.join_all().await;
        }
    }

    /// Kills everything that runs, and itself.
    pub(crate) fn cut(&self) -> ExitCode {
        for member in self.all() {
            let pid = member.seen().pid.and_then(|pid| i32::try_from(pid).ok());
            if let Some(pid) = pid.and_then(Pid::from_raw) {
                // It may have ended a moment ago.
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
        ExitCode::FAILURE
    }

    /// Tells NGINX where to send people: to all but these.
    async fn balance(&self, without: &Members) -> Result<()> {
        let all = self.all();
        let stays = |member: &&Arc<Member>| !without.iter().any(|m| m.name == member.name);
        let stays = all.iter().filter(stays).map(|member| &**member);
        self.plan.balance(stays)?;
        for nginx in self.of(Role::Nginx) {
            nginx.order(Order::Reload).await;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Members {
        self.lock().clone()
    }

    fn of(&self, role: Role) -> Members {
        let members = self.lock();
        let found = members.iter().filter(|member| member.role == role);
        found.cloned().collect()
    }

    fn add(&self, member: Member) -> Result<Arc<Member>> {
        self.check_not_stopping()?;
        let member = Arc::new(member);
        let mut members = self.lock();
        members.push(member.clone());
        members.sort_by_key(|member| (member.role, member.name.len(), member.name.clone()));
        Ok(member)
    }

    fn remove(&self, gone: &Members) {
        let stays = |member: &Arc<Member>| !gone.iter().any(|m| m.name == member.name);
        self.lock().retain(stays);
    }

    async fn run(&self, member: &Member) -> Result<()> {
        self.check_not_stopping()?;
        member.order(Order::Run).await;
        Ok(())
    }

    fn check_not_stopping(&self) -> Result<()> {
        ensure!(!self.stopping.is_cancelled(), "the cluster is stopping");
        Ok(())
    }

    /// The processes of this name, or of this role.
    fn named(&self, name: &str) -> Result<Members> {
        let all = self.all();
        let is_meant = |member: &Arc<Member>| {
            let role = member.role.name();
            let whole = name.strip_suffix('s') == Some(role) && member.role.is_ours();
            member.name == name || whole
        };
        let found: Vec<_> = all.iter().filter(|m| is_meant(m)).cloned().collect();
        if !found.is_empty() {
            return Ok(found);
        }
        let names: Vec<_> = all.iter().map(|member| member.name.as_str()).collect();
        bail!("there is no {name}; there are {}", names.join(", "))
    }

    fn one(&self, name: &str) -> Result<Arc<Member>> {
        let mut found = self.named(name)?;
        ensure!(found.len() == 1, "{name} are {}; name one", found.len());
        Ok(found.remove(0))
    }

    /// Waits until all are ready, and tells of each.
    async fn ready(&self, members: Members) -> Result<()> {
        let mut waiting = JoinSet::new();
        for member in members {
            waiting.spawn(async move { become_ready(&member).await });
        }
        loop {
            let next = tokio::select! {
                next = waiting.join_next() => next,
                () = self.stopping.cancelled() => bail!("the cluster is stopping"),
            };
            match next {
                Some(Ok(ready)) => ready?,
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            }
        }
    }
}

async fn become_ready(member: &Member) -> Result<()> {
    let since = Instant::now();
    let settled = member.until(|seen| seen.ready || seen.stillborn >= STILLBORN_MAX);
    let in_time = timeout(START_PATIENCE, settled).await.is_ok();
    let seen = member.seen();
    if seen.ready {
        let seconds = since.elapsed().as_secs_f64();
        let listen = member.job.listen.map(|address| address.to_string());
        let listen = listen.unwrap_or_default();
        let text = format!("ready after {seconds:.1} s   {listen}");
        say(format_args!("{:<10} {}", member.name, text.trim_end()));
        return Ok(());
    }
    let log = member.log.display();
    let text = std::fs::read_to_string(&member.log).unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    let last = last.unwrap_or("nothing");
    let name = &member.name;
    if in_time {
        return Err(anyhow!(
            "{name} ended {STILLBORN_MAX} times before it was ready; its log {log} ends with: {last}"
        ));
    }
    let waits_for = if seen.waits_for.is_empty() {
        "it does not answer".to_owned()
    } else {
        format!("it waits for {}", seen.waits_for)
    };
    Err(anyhow!(
        "{name} was not ready within {} s: {waits_for}; its log {log} ends with: {last}",
        START_PATIENCE.as_secs()
    ))
}
