//! Orders to a running cluster, through a socket in its directory: a JSON object a line.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::directory::Directory;
use super::job::Role;
use super::member::Order;
use super::record::Contents;
use super::status::Status;
use super::supervisor::Supervisor;

/// Longest line in either direction, in bytes: the status of hundreds of processes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Longest path of a socket that every system takes, in bytes.
const SOCKET_PATH_BYTES_MAX: usize = 100;
/// Lines that may wait for a command that does not read.
const REPLIES_MAX: usize = 256;

/// An order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub(crate) enum Request {
    Status,
    Kill { name: String },
    Stop { name: String },
    Drain { name: String },
    Start { name: String },
    Restart { name: String },
    Scale { role: Role, count: usize },
    Down,
}

/// What comes back: lines, then one of the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Line(String),
    Status(Box<Status>),
    Done,
    Refused(String),
}

/// The socket's path, and what keeps a very long one reachable.
fn path(directory: &Directory) -> Result<(PathBuf, Option<File>)> {
    let socket = directory.socket();
    if socket.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok((socket, None));
    }
    let folder = File::open(directory.root()).context("cannot open the cluster's directory")?;
    let name = socket.file_name().unwrap_or_default();
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    Ok((short, Some(folder)))
}

/// Takes orders until it is dropped.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) async fn serve(directory: &Directory, supervisor: Arc<Supervisor>) -> Result<()> {
    let (path, _folder) = path(directory)?;
    // The lock is ours, so whoever made the socket is gone.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).context("cannot remove the socket of a former run");
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path)
        .and_then(|listener| {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        })
        .with_context(|| format!("cannot listen on {}", directory.socket().display()))?;
    loop {
        let (stream, _) = listener.accept().await.context("cannot take orders")?;
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            // Whoever goes away does not stop what was ordered, nor us.
            let _ = attend(stream, supervisor).await;
        });
    }
}

async fn attend(stream: UnixStream, supervisor: Arc<Supervisor>) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LINE_BYTES_MAX));
    reader.read_line(&mut line).await?;
    let (replies, mut replied) = mpsc::channel(REPLIES_MAX);
    // In a task of its own: what was begun is finished, whoever listens.
    tokio::spawn(async move {
        let reply = match serde_json::from_str(&line) {
            Ok(request) => obey(request, &supervisor, &replies).await,
            Err(error) => Err(error.into()),
        };
        let reply = reply.unwrap_or_else(|error| Reply::Refused(format!("{error:#}")));
        let _ = replies.send(reply).await;
    });
    while let Some(reply) = replied.recv().await {
        let mut line = serde_json::to_vec(&reply)?;
        line.push(b'\n');
        writer.write_all(&line).await?;
    }
    Ok(())
}

async fn obey(
    request: Request,
    supervisor: &Supervisor,
    replies: &mpsc::Sender<Reply>,
) -> Result<Reply> {
    let tell = |line: String| {
        let _ = replies.try_send(Reply::Line(line));
    };
    match request {
        Request::Status => return Ok(Reply::Status(Box::new(supervisor.status()))),
        Request::Kill { name } => supervisor.kill(&name, &tell).await?,
        Request::Stop { name } => supervisor.stop(&name, Order::Stop, &tell).await?,
        Request::Drain { name } => supervisor.stop(&name, Order::Drain, &tell).await?,
        Request::Start { name } => supervisor.begin(&name, &tell).await?,
        Request::Restart { name } => supervisor.restart(&name, &tell).await?,
        Request::Scale { role, count } => supervisor.scale(role, count, &tell).await?,
        Request::Down => {
            supervisor.ask_to_stop();
            // The end of the process ends the connection.
            std::future::pending::<()>().await;
        }
    }
    Ok(Reply::Done)
}

/// Gives an order to the cluster that runs in this directory; each line is printed as it comes.
///
/// # Errors
/// When none runs there, and when it refuses.
pub(crate) async fn order(
    directory: &Directory,
    request: &Request,
    line: impl Fn(&str) -> Result<()>,
) -> Result<Option<Status>> {
    let Some(stream) = connect(directory).await? else {
        return Err(nobody(directory));
    };
    let (reader, mut writer) = stream.into_split();
    let mut text = serde_json::to_vec(request)?;
    text.push(b'\n');
    writer
        .write_all(&text)
        .await
        .context("cannot give orders")?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(text) = lines.next_line().await.context("cannot hear the answer")? {
        match serde_json::from_str(&text).context("cannot understand the answer")? {
            Reply::Line(text) => line(&text)?,
            Reply::Status(status) => return Ok(Some(*status)),
            Reply::Done => return Ok(None),
            Reply::Refused(reason) => return Err(anyhow!(reason)),
        }
    }
    if matches!(request, Request::Down) {
        return Ok(None);
    }
    bail!("the cluster went away before it had answered")
}

/// Whoever takes orders there; `None`: nobody does.
async fn connect(directory: &Directory) -> Result<Option<UnixStream>> {
    let connected = match path(directory) {
        Ok((path, _folder)) => UnixStream::connect(path).await,
        Err(_) => return Ok(None),
    };
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let root = directory.root().display();
            bail!("the cluster in {root} is another user's");
        }
        Err(_) => Ok(None),
    }
}

/// Whether a cluster runs there.
///
/// # Errors
/// When it is another user's.
pub(crate) async fn is_running(directory: &Directory) -> Result<bool> {
    Ok(connect(directory).await?.is_some())
}

/// Why nobody takes orders.
fn nobody(directory: &Directory) -> anyhow::Error {
    let root = directory.root().display();
    let left = Contents::read(&directory.record()).running();
    if left.is_empty() {
        return anyhow!(
            "no cluster runs in {root}; start one with banter cluster up, or name its --data-dir"
        );
    }
    let names: Vec<_> = left.keys().map(String::as_str).collect();
    let names = names.join(", ");
    anyhow!(
        "the cluster in {root} lost its supervisor, but {names} still run; banter cluster up ends \
         them and starts afresh"
    )
}
