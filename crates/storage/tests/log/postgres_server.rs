//! A PostgreSQL server of a test's own.
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct PostgresServer {
    directory: PathBuf,
    pub port: u16,
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new("runuser")
        .args(["-u", "postgres", "--"])
        .arg(program)
        .args(args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap()
        .success()
}
const BIN: &str = "/usr/lib/postgresql/15/bin";
impl PostgresServer {
    pub fn start() -> Self {
        let port = crate::redis_server::free_port();
        let directory = PathBuf::from(format!("/tmp/banter-pg-{port}"));
        std::fs::create_dir(&directory).unwrap();
        assert!(
            Command::new("chown")
                .arg("postgres")
                .arg(&directory)
                .status()
                .unwrap()
                .success()
        );
        let data = directory.join("d");
        assert!(run(
            &format!("{BIN}/initdb"),
            &[
                "-D",
                data.to_str().unwrap(),
                "-U",
                "banter",
                "--auth=trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C"
            ]
        ));
        let it = Self { directory, port };
        it.up();
        it
    }
    fn data(&self) -> String {
        Path::new(&self.directory)
            .join("d")
            .to_str()
            .unwrap()
            .to_owned()
    }
    pub fn up(&self) {
        let dir = self.directory.to_str().unwrap();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={dir} -c fsync=off",
            self.port
        );
        let log = format!("{dir}/log");
        assert!(run(
            &format!("{BIN}/pg_ctl"),
            &[
                "-D",
                &self.data(),
                "-w",
                "-l",
                &log,
                "-o",
                &options,
                "start"
            ]
        ));
    }
    pub fn down(&self) {
        run(
            &format!("{BIN}/pg_ctl"),
            &["-D", &self.data(), "-w", "-m", "immediate", "stop"],
        );
    }
    pub fn url(&self) -> String {
        format!("postgres://banter@127.0.0.1:{}/postgres", self.port)
    }
}
impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.down();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
