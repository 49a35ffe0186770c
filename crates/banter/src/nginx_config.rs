//! `banter nginx-config`: the NGINX in front of a cluster, complete.

mod site;
mod upstreams;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::config::Location;
use crate::print;
use crate::usage::Wrong;

pub(crate) use site::{Site, Tls};
pub(crate) use upstreams::Upstream;

/// Print a configuration of NGINX for a cluster
///
/// Sockets and calls go to the gateways, logins straight to the authentication service. Its limits
/// are those of Banter's own configuration. Give it to NGINX as the whole nginx.conf.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  banter nginx-config --gateway 10.0.0.1:8080 --gateway 10.0.0.2:8080 --auth 10.0.0.9:8080 \\
      --tls-certificate /etc/ssl/chat.pem --tls-key /etc/ssl/chat.key > /etc/nginx/nginx.conf
  banter nginx-config --upstreams upstreams.txt    a line each: gateway 10.0.0.1:8080
  nginx -t -c /etc/nginx/nginx.conf && nginx -s reload")]
pub(crate) struct NginxConfig {
    /// Address of a gateway; may be given more than once
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    gateway: Vec<Upstream>,
    /// Address of an authentication service; may be given more than once
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    auth: Vec<Upstream>,
    /// Read addresses from this file: a line each, `gateway ADDRESS` or `auth ADDRESS`
    #[arg(long, value_name = "FILE")]
    upstreams: Option<PathBuf>,
    /// Address for people [default: 0.0.0.0:443 with TLS, else 0.0.0.0:80]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Certificate, with its chain (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Address of NGINX's own counters, at /status; for operators only
    #[arg(long, value_name = "ADDRESS")]
    status: Option<SocketAddr>,
    /// Keep process id, logs and temporary files here: NGINX then runs as any user
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    #[command(flatten)]
    location: Location,
}

impl NginxConfig {
    /// Prints to stdout.
    ///
    /// # Errors
    /// Without addresses, and when something given cannot stand in the configuration.
    pub(crate) fn run(&self) -> Result<()> {
        let mut gateways = self.gateway.clone();
        let mut auths = self.auth.clone();
        if let Some(file) = &self.upstreams {
            upstreams::read(file, &mut gateways, &mut auths)?;
        }
        for (found, what, flag) in [
            (&gateways, "gateway", "--gateway"),
            (&auths, "authentication service", "--auth"),
        ] {
            if found.is_empty() {
                let text = format!("no {what}: name at least one with {flag} ADDRESS");
                return Err(Wrong(text).into());
            }
        }
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(Tls {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            _ => None,
        };
        let port = if tls.is_some() { 443 } else { 80 };
        let site = Site {
            listen: self.listen.unwrap_or(([0, 0, 0, 0], port).into()),
            gateways,
            auths,
            tls,
            status: self.status,
            run_dir: self.run_dir.clone(),
            limits: self.location.load(Vec::new())?.settings.limits,
        };
        print(site.render()?.as_bytes())
    }
}
