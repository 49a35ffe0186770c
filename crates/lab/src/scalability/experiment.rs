//! What is measured: commands, and the servers that they are put on.

/// Some runs that belong together: one table.
#[derive(Debug, Clone, Copy)]
pub struct Experiment {
    /// Its name, for `--only`, in the document's marks and of its file.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its runs, in their order.
    pub(super) runs: &'static [Run],
}

/// One command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// The head of its column; empty: the people of each run of the command.
    pub(super) label: &'static str,
    /// What it is put on.
    pub(super) server: Server,
    /// `load` or `stress` with its flags; a profile in braces is one of [`PROFILES`].
    pub(super) command: &'static str,
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(super) enum Server {
    /// One process with its own file.
    OneProcess,
    /// A cluster of so many gateways and workers, with settings.
    Cluster(u32, u32, &'static str),
}

use Server::{Cluster, OneProcess};

/// Profiles that are not built in: their names and texts.
pub(super) const PROFILES: [(&str, &str); 2] = [("pairs", PAIRS), ("logins", LOGINS)];

/// People who talk in twos: on many gateways, most of what is said is nobody's there.
const PAIRS: &str = "\
about = \"conversations of two\"
users = 1000
duration = \"15s\"
warm_up = \"4s\"
body_bytes = 150
slo = \"delivery_p99<250ms,ack_p99<250ms,errors<0.01%\"
arrivals = \"even\"

[channels]
everybody = false
everybody_share = 0
memberships = 1
sizes = [[2, 100]]

[rate]
per_second = 0.0
per_user = 0.5

[actions]
send = 1.0
";

/// People who talk in rooms of ten, while others log in: 25 a second, half a core of hashing.
const LOGINS: &str = "\
about = \"rooms of ten, and a storm of logins\"
users = 400
duration = \"15s\"
warm_up = \"4s\"
body_bytes = 150
slo = \"delivery_p99<250ms,ack_p99<250ms,errors<0.01%\"
arrivals = \"even\"

[channels]
everybody = false
everybody_share = 0
memberships = 1
sizes = [[10, 100]]

[rate]
per_second = 0.0
per_user = 0.3125

[actions]
send = 4.0
login = 1.0
";

const COMMUNITY: &str = "load --profile community --scale 1,10,100 --warm-up 5s --duration 20s";
const STRESS: &str = "stress --profile rooms --users 1000 --rate 1000 --warm-up 2s --duration 6s";
const ROOMS: &str = "load --profile rooms --users 1000 --rate 500 --warm-up 4s --duration 15s";
const BUSY: &str = "load --profile rooms --users 1000 --rate 1500 --warm-up 4s --duration 15s";
const CALM: &str = "load --profile rooms --users 400 --rate 100 --warm-up 4s --duration 15s";
const STORM: &str = "load --profile {logins}";
const TALK: &str = "load --profile {pairs}";

/// The full system.
const FULL: Server = Cluster(2, 1, "");

/// All of them, in the order of the document.
pub const ALL: &[Experiment] = &[
    Experiment {
        name: "one-process",
        about: "1, 10 and 100 times the people on one process",
        runs: &[run("", OneProcess, COMMUNITY)],
    },
    Experiment {
        name: "cluster",
        about: "the same on a cluster",
        runs: &[run("", FULL, COMMUNITY)],
    },
    Experiment {
        name: "stress",
        about: "more and more, until it breaks",
        runs: &[
            run("one process", OneProcess, STRESS),
            run("cluster", FULL, STRESS),
        ],
    },
    Experiment {
        name: "instances",
        about: "what an instance more brings",
        runs: &[
            run("1 gateway, 1 worker", Cluster(1, 1, ""), ROOMS),
            run("2 gateways, 1 worker", FULL, ROOMS),
            run("4 gateways, 1 worker", Cluster(4, 1, ""), ROOMS),
            run("2 gateways, 2 workers", Cluster(2, 2, ""), ROOMS),
        ],
    },
    Experiment {
        name: "batches",
        about: "one row for each transaction, against batches",
        runs: &[
            run("one row", Cluster(2, 1, "[log]\nbatch_rows = 1\n"), BUSY),
            run("batches", FULL, BUSY),
        ],
    },
    Experiment {
        name: "logins",
        about: "hashing in the chat process, against a service of its own",
        runs: &[
            run("one process", OneProcess, CALM),
            run("with logins", OneProcess, STORM),
            run("cluster", FULL, CALM),
            run("with logins", FULL, STORM),
        ],
    },
    Experiment {
        name: "hearing",
        about: "every gateway hearing every channel, against its own",
        runs: &[
            run(
                "all channels",
                Cluster(4, 1, "[log]\nhear = \"all\"\n"),
                TALK,
            ),
            run("its own", Cluster(4, 1, ""), TALK),
        ],
    },
];

const fn run(label: &'static str, server: Server, command: &'static str) -> Run {
    Run {
        label,
        server,
        command,
    }
}
