//! What one NGINX stands in front of, and the text of its configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use banter_protocol::error::Code;
use banter_protocol::limit;
use banter_server::settings::Limits;
use serde_json::json;

use super::Upstream;
use crate::usage::Wrong;

const TEMPLATE: &str = include_str!("nginx.conf");

/// Silence after which NGINX gives a socket up, in pings: three may be lost, and each is jittered.
const PINGS_LOST_MAX: u64 = 3;
/// NGINX counts no further; an address has no more ports to reach one listener from.
const SOCKETS_MAX: u64 = 65_535;

/// A certificate and its key (PEM).
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// One NGINX.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Where people connect.
    pub(crate) listen: SocketAddr,
    /// At least one.
    pub(crate) gateways: Vec<Upstream>,
    /// At least one.
    pub(crate) auths: Vec<Upstream>,
    pub(crate) tls: Option<Tls>,
    /// Where its own counters are.
    pub(crate) status: Option<SocketAddr>,
    /// Where it may write, if it is not the system's own; its error log is then stderr.
    pub(crate) run_dir: Option<PathBuf>,
    /// Those per address are NGINX's too.
    pub(crate) limits: Limits,
}

impl Site {
    /// The whole nginx.conf.
    ///
    /// # Errors
    /// When a path cannot be written in NGINX's language.
    pub(crate) fn render(&self) -> Result<String> {
        let run_dir = self.run_dir.as_deref().map(absolute).transpose()?;
        let error_log = match run_dir {
            Some(_) => "stderr",
            None => "/var/log/nginx/error.log",
        };
        let access_log = match &run_dir {
            Some(dir) => quoted(&dir.join("access.log"))?,
            None => "/var/log/nginx/access.log".to_owned(),
        };
        let values = [
            ("head", head(run_dir.as_deref(), error_log)?),
            ("files", files(run_dir.as_deref())?),
            ("access_log", access_log),
            ("error_log", error_log.to_owned()),
            ("listen", self.listen()?),
            ("gateways", servers(&self.gateways)),
            ("auths", servers(&self.auths)),
            ("status", self.status_server()),
        ];
        let mut text = TEMPLATE.to_owned();
        for (name, value) in values.into_iter().chain(self.numbers()).chain(problems()) {
            text = text.replace(&format!("{{{{{name}}}}}"), &value);
        }
        Ok(text)
    }

    fn numbers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let ping = limit::PING_INTERVAL.as_secs();
        [
            ("body_bytes", limit::FRAME_BYTES_MAX as u64),
            ("head_seconds", limit::HTTP_HEAD_TIMEOUT.as_secs()),
            ("body_seconds", limit::HTTP_BODY_TIMEOUT.as_secs()),
            ("idle_seconds", limit::HTTP_IDLE_TIMEOUT.as_secs()),
            // One more than may be lost, and a tenth for the jitter.
            ("socket_seconds", ping * (PINGS_LOST_MAX + 1) * 11 / 10),
            (
                "logins_per_minute",
                self.limits.address_logins_per_minute.into(),
            ),
            ("logins_burst", limit::ADDRESS_LOGINS_BURST.into()),
            (
                "upgrades_per_second",
                self.limits.address_upgrades_per_second.into(),
            ),
            ("upgrades_burst", limit::ADDRESS_UPGRADES_BURST.into()),
            (
                "sockets",
                u64::from(self.limits.address_sockets).min(SOCKETS_MAX),
            ),
        ]
        .into_iter()
        .map(|(name, number)| (name, number.to_string()))
    }

    fn listen(&self) -> Result<String> {
        let address = self.listen;
        let Some(tls) = &self.tls else {
            return Ok(format!(
                "listen {address} backlog=4096;\n\
                 \x20       # With TLS instead:\n\
                 \x20       # listen 0.0.0.0:443 ssl backlog=4096;\n\
                 \x20       # ssl_certificate /etc/ssl/certs/chat.example.pem;\n\
                 \x20       # ssl_certificate_key /etc/ssl/private/chat.example.key;\n\
                 \x20       # ssl_protocols TLSv1.2 TLSv1.3;\n\
                 \x20       # ssl_session_cache shared:banter_tls:10m;"
            ));
        };
        let certificate = quoted(&absolute(&tls.certificate)?)?;
        let key = quoted(&absolute(&tls.key)?)?;
        Ok(format!(
            "listen {address} ssl backlog=4096;\n\
             \x20       ssl_certificate {certificate};\n\
             \x20       ssl_certificate_key {key};\n\
             \x20       ssl_protocols TLSv1.2 TLSv1.3;\n\
             \x20       ssl_session_cache shared:banter_tls:10m;"
        ))
    }

    fn status_server(&self) -> String {
        let Some(address) = self.status else {
            return String::new();
        };
        format!(
            "\n    server {{\n        listen {address};\n        access_log off;\n        \
             location = /status {{\n            stub_status;\n        }}\n        \
             location / {{\n            return 404;\n        }}\n    }}\n"
        )
    }
}

fn servers(upstreams: &[Upstream]) -> String {
    let lines: Vec<_> = upstreams
        .iter()
        .map(|upstream| format!("server {upstream} max_fails=0;"))
        .collect();
    lines.join("\n        ")
}

fn head(run_dir: Option<&Path>, error_log: &str) -> Result<String> {
    let Some(dir) = run_dir else {
        return Ok(format!(
            "# user www-data;\npid /run/nginx.pid;\nerror_log {error_log} warn;\n\
             worker_rlimit_nofile 262144;"
        ));
    };
    let pid = quoted(&dir.join("nginx.pid"))?;
    Ok(format!("pid {pid};\nerror_log {error_log} warn;"))
}

fn files(run_dir: Option<&Path>) -> Result<String> {
    let Some(dir) = run_dir else {
        return Ok("# Temporary files lie where the system's NGINX has them.".to_owned());
    };
    let mut lines = Vec::new();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        let path = quoted(&dir.join(kind))?;
        lines.push(format!("{kind}_temp_path {path};"));
    }
    Ok(lines.join("\n    "))
}

/// What NGINX itself refuses, in the words of the server.
fn problems() -> impl Iterator<Item = (&'static str, String)> {
    let codes = [
        Code::RequestMalformed,
        Code::MethodNotAllowed,
        Code::TooLarge,
        Code::TooManyRequests,
        Code::Unavailable,
    ];
    codes.into_iter().map(|code| {
        let body = json!({
            "type": format!("urn:banter:problem:{code}"),
            "title": code.title(),
            "status": code.status(),
            "code": code.as_str(),
        });
        let text = body.to_string().replace('\'', "\\'");
        (code.as_str(), format!("return {} '{text}';", code.status()))
    })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot use {}", path.display()))
}

/// A path as a parameter of NGINX; variables cannot be escaped there.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(['$', '\n']));
    let Some(text) = text else {
        let path = path.display();
        return Err(Wrong(format!("NGINX cannot use the path {path}")).into());
    };
    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("\"{text}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            listen: ([127, 0, 0, 1], 8080).into(),
            gateways: vec!["10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap()],
            auths: vec!["10.0.0.3:3".parse().unwrap()],
            tls: None,
            status: None,
            run_dir: None,
            limits: Limits::default(),
        }
    }

    #[test]
    fn every_place_of_the_template_is_filled() {
        let text = site().render().unwrap();
        assert!(!text.contains("{{") && !text.contains("}}"), "{text}");
        assert!(text.contains("server 10.0.0.2:2 max_fails=0;"), "{text}");
    }

    #[test]
    fn no_limit_is_beyond_what_nginx_takes() {
        let mut site = site();
        site.limits.address_sockets = 1_000_000;
        assert!(
            site.render()
                .unwrap()
                .contains("limit_conn banter_sockets 65535;")
        );
    }

    #[test]
    fn a_silent_socket_outlives_three_pings() {
        let text = site().render().unwrap();
        let line = text
            .lines()
            .rfind(|line| line.contains("proxy_read_timeout"));
        let seconds: u64 = line
            .unwrap()
            .trim()
            .trim_start_matches("proxy_read_timeout ")
            .trim_end_matches("s;")
            .parse()
            .unwrap();
        assert!(seconds > 3 * limit::PING_INTERVAL.as_secs());
    }
}
