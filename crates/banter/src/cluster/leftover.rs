//! Processes of a run that was itself killed: they are ended before the next one starts.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::identity::Identity;
use super::say;

/// How long a process may take to end when it is asked to. A database writes down what it holds.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long after SIGKILL: the kernel frees what it had.
const PATIENCE_KILLED: Duration = Duration::from_secs(10);
/// Between two looks.
const STEP: Duration = Duration::from_millis(20);

/// Ends these processes, by name: those that need the others first.
///
/// # Errors
/// When one stays.
pub(crate) async fn end(mut running: BTreeMap<String, Vec<Identity>>) -> Result<()> {
    let postgres = running.remove("postgres");
    let redis = running.remove("redis");
    for (name, processes) in &running {
        tell(name, processes);
    }
    // Clients resume and the log keeps what was acked: nothing is drained for a run that is over.
    let others: Vec<_> = running.into_values().flatten().collect();
    finish(&others, Signal::TERM).await?;
    for (name, processes, signal) in [
        ("postgres", postgres, Signal::INT),
        ("redis", redis, Signal::TERM),
    ] {
        let processes = processes.unwrap_or_default();
        if !processes.is_empty() {
            tell(name, &processes);
            finish(&processes, signal).await?;
        }
    }
    Ok(())
}

fn tell(name: &str, processes: &[Identity]) {
    let pids: Vec<_> = processes.iter().map(|p| p.pid.to_string()).collect();
    let pids = pids.join(", ");
    say(format_args!(
        "{name} (process {pids}) is left from a run that was killed; ending it"
    ));
}

async fn finish(processes: &[Identity], signal: Signal) -> Result<()> {
    for (signal, patience) in [(signal, PATIENCE), (Signal::KILL, PATIENCE_KILLED)] {
        for process in processes {
            send(*process, signal);
        }
        let deadline = Instant::now() + patience;
        while processes.iter().any(|process| process.is_running()) {
            if Instant::now() > deadline {
                break;
            }
            sleep(STEP).await;
        }
    }
    if let Some(process) = processes.iter().find(|process| process.is_running()) {
        bail!(
            "process {} is left from a run that was killed and cannot be ended; end it yourself",
            process.pid
        );
    }
    Ok(())
}

/// Sends a signal, if it is still that process.
fn send(process: Identity, signal: Signal) {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    if let (true, Some(pid)) = (process.is_running(), pid) {
        // It may have ended in between; whether it has is looked at afterwards.
        let _ = kill_process(pid, signal);
    }
}
