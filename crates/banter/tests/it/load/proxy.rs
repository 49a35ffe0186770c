//! A proxy in front of a real server that tells the truth but for one message: the audit must find
//! that one, and the times what is held back.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Ran, Server, banter};

/// What every load keeps that loses nothing.
const WIDE: &str = "errors<50%";

/// What the proxy does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    None,
    /// The delivery of this number never arrives.
    Lose(u64),
    /// It arrives twice.
    Repeat(u64),
    /// It arrives after the next one of its socket.
    Swap(u64),
    /// Every ack comes later by so much.
    DelayAcks(Duration),
    /// Before the delivery of this number everything stands still for so long.
    Stall(u64, Duration),
}

/// See the module.
struct Proxy {
    address: SocketAddr,
}

/// What all connections of a proxy share.
struct Shared {
    server: SocketAddr,
    lie: Lie,
    deliveries: AtomicU64,
    /// Held while everything stands still.
    still: Mutex<()>,
}

impl Proxy {
    fn start(server: SocketAddr, lie: Lie) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("it has one");
        let shared = Arc::new(Shared {
            server,
            lie,
            deliveries: AtomicU64::new(0),
            still: Mutex::new(()),
        });
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                // Whoever goes away is gone on both sides.
                std::thread::spawn(move || shared.pass(client));
            }
        });
        Self { address }
    }
}

impl Shared {
    fn pass(&self, client: TcpStream) -> io::Result<()> {
        let server = TcpStream::connect(self.server)?;
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
        }
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
        let passed = self.answer(server, &client);
        let _ = client.shutdown(std::net::Shutdown::Both);
        passed
    }

    /// What the server says: HTTP as it comes, a socket frame by frame.
    fn answer(&self, server: TcpStream, client: &TcpStream) -> io::Result<()> {
        let mut server = io::BufReader::with_capacity(64 * 1024, server);
        let client = Arc::new(Mutex::new(client.try_clone()?));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            server.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        say(&client, &head)?;
        if !head.starts_with(b"HTTP/1.1 101") {
            let mut client = client.lock().expect("nobody panicked").try_clone()?;
            return io::copy(&mut server, &mut client).map(drop);
        }
        let mut held = None;
        loop {
            let frame = frame(&mut server)?;
            self.frame(frame, &mut held, &client)?;
        }
    }

    fn frame(
        &self,
        frame: Vec<u8>,
        held: &mut Option<Vec<u8>>,
        client: &Arc<Mutex<TcpStream>>,
    ) -> io::Result<()> {
        let is = |kind: &[u8]| frame.windows(kind.len()).take(12).any(|part| part == kind);
        if let (Lie::DelayAcks(time), true) = (self.lie, is(b"{\"type\":\"ack\"")) {
            let client = client.clone();
            std::thread::spawn(move || {
                std::thread::sleep(time);
                let _ = say(&client, &frame);
            });
            return Ok(());
        }
        if !is(b"{\"type\":\"message\"") {
            return say(client, &frame);
        }
        let number = self.deliveries.fetch_add(1, Ordering::Relaxed) + 1;
        if let Lie::Stall(at, time) = self.lie
            && number == at
        {
            let _still = self.still.lock().expect("nobody panicked");
            std::thread::sleep(time);
        }
        drop(self.still.lock().expect("nobody panicked"));
        match self.lie {
            Lie::Lose(at) if number == at => return Ok(()),
            Lie::Repeat(at) if number == at => say(client, &frame)?,
            Lie::Swap(at) if number == at => {
                *held = Some(frame);
                return Ok(());
            }
            _ => {}
        }
        say(client, &frame)?;
        match held.take() {
            Some(earlier) => say(client, &earlier),
            None => Ok(()),
        }
    }
}

fn say(client: &Mutex<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    client.lock().expect("nobody panicked").write_all(bytes)
}

/// One frame of a server, whole.
fn frame(server: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    server.read_exact(&mut frame)?;
    let more = match frame[1] {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut length = u64::from(frame[1]);
    if more > 0 {
        let mut bytes = [0; 8];
        server.read_exact(&mut bytes[8 - more..])?;
        frame.extend_from_slice(&bytes[8 - more..]);
        length = u64::from_be_bytes(bytes);
    }
    let start = frame.len();
    frame.resize(start + usize::try_from(length).expect("it fits"), 0);
    server.read_exact(&mut frame[start..])?;
    Ok(frame)
}

/// A load of a room through a proxy that lies so; its exit code, what it printed, its first run.
fn load(
    lie: Lie,
    (users, rate, seconds): (u32, u32, u32),
    slo: &str,
) -> (Option<i32>, String, Value) {
    let server = Server::start_with(&[("BANTER_LIMITS__CHANNEL_ENTRIES_PER_SECOND", "100000")]);
    let address = server.url().trim_start_matches("http://").parse();
    let proxy = Proxy::start(address.expect("an address"), lie);
    let dir = tempfile::tempdir().expect("a directory");
    let url = format!("http://{}", proxy.address);
    let [users, rate, seconds] = [users, rate, seconds].map(|number| number.to_string());
    let arguments = [
        "load",
        "--server",
        &url,
        "--profile",
        "room",
        "--users",
        &users,
        "--rate",
        &rate,
        "--duration",
        &format!("{seconds}s"),
        "--warm-up",
        "0s",
        "--slo",
        slo,
        "--json",
        "lie.json",
    ];
    let mut command = banter(dir.path(), &arguments);
    command.env("XDG_STATE_HOME", dir.path());
    let ran = Ran::from(command.output().expect("it starts"));
    let report = fs::read(dir.path().join("lie.json"));
    let report = report.unwrap_or_else(|_| panic!("no report: {}{}", ran.stderr, ran.stdout));
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    (ran.code, ran.stdout, report["runs"][0].clone())
}

/// Each lie about the delivery of this number among those of a load is found, and nothing else.
fn every_lie_is_found(at: u64, size: (u32, u32, u32)) {
    for lie in [Lie::None, Lie::Lose(at), Lie::Repeat(at), Lie::Swap(at)] {
        let (code, stdout, run) = load(lie, size, WIDE);
        let checked = run["audit"]["deliveries"].as_u64().expect("a number");
        assert!(checked > at, "{checked} deliveries: {stdout}");
        let broken = run["audit"]["violations"].as_u64().expect("a number");
        if lie == Lie::None {
            assert_eq!((code, broken), (Some(0), 0), "{stdout}");
            continue;
        }
        assert_eq!(code, Some(3), "{lie:?}: {stdout}");
        // The one message, and what is out of order for it.
        assert!((1..=2).contains(&broken), "{lie:?}: {stdout}");
        assert!(
            stdout.contains("FAIL") && stdout.contains("C3"),
            "{lie:?}: {stdout}"
        );
    }
}

#[test]
fn one_lie_among_thousands_of_deliveries_is_found() {
    every_lie_is_found(1_500, (20, 50, 3));
}

#[test]
#[ignore = "a million deliveries through a proxy take minutes: run it when the audit changes"]
fn one_lie_among_a_million_deliveries_is_found() {
    every_lie_is_found(900_000, (250, 100, 42));
}

/// A row of the table of times: milliseconds by the shares p50, p90, p95, p99, p99.9, max.
fn times(run: &Value, measure: &str) -> Vec<f64> {
    let mut rows = run["times"].as_array().expect("rows").iter();
    let row = rows
        .find(|row| row["measure"] == measure)
        .expect("it was timed");
    let ms = row["ms"].as_array().expect("times").iter();
    ms.filter_map(Value::as_f64).collect()
}

#[test]
fn acks_that_are_held_back_show_in_their_times_and_nowhere_else() {
    let (code, stdout, run) = load(Lie::DelayAcks(Duration::from_millis(700)), (5, 20, 3), WIDE);
    assert_eq!(code, Some(0), "{stdout}");
    let (acks, deliveries) = (times(&run, "ack"), times(&run, "delivery"));
    assert!(acks.iter().all(|ms| *ms >= 699.0), "{acks:?}");
    assert!(deliveries[0] < acks[0] - 500.0, "{deliveries:?}");
    assert_eq!(run["audit"]["violations"], 0);
}

#[test]
fn a_stall_of_half_a_second_shows_at_its_size() {
    let stall = Duration::from_millis(500);
    let (_, stdout, run) = load(Lie::Stall(1_000, stall), (10, 50, 4), WIDE);
    let deliveries = times(&run, "delivery");
    // 25 messages were due meanwhile: more than a tenth of all waited, up to half a second.
    let (p90, p999) = (deliveries[1], deliveries[4]);
    assert!(p90 > 20.0 && p999 >= 480.0, "{deliveries:?} {stdout}");
    assert_eq!(run["audit"]["violations"], 0, "{stdout}");
}

#[test]
fn two_loads_of_a_kind_get_the_same_verdict() {
    // Acks take 400 ms whatever else the machine does: twice and half of that are far from it.
    let slow = Lie::DelayAcks(Duration::from_millis(400));
    let size = (4, 20, 2);
    let (_, _, run) = load(slow, size, WIDE);
    let p99 = times(&run, "ack")[3];
    for _ in 0..2 {
        let twice = format!("ack_p99<{}ms", p99 * 2.0);
        let (code, stdout, run) = load(slow, size, &twice);
        assert_eq!(code, Some(0), "{twice}: {stdout}");
        assert_eq!(run["verdict"], "PASS", "{stdout}");
        let half = format!("ack_p99<{}ms", (p99 / 2.0).min(390.0));
        let (code, stdout, run) = load(slow, size, &half);
        // On a machine that others use, a missed demand proves nothing about the server.
        assert!(matches!(code, Some(3 | 4)), "{half}: {stdout}");
        assert_eq!(run["judged"][0]["met"], false, "{stdout}");
    }
}
