//! Beginning an epoch, step by step, by whoever finds none open.

use crate::redis::{Epoch, Run, Token};
use crate::rules::Rule;
use crate::world::World;

/// How far a process has come.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Install {
    #[default]
    Waiting,
    Locked,
    Begun {
        epoch: Epoch,
        installed: Epoch,
    },
    Copied {
        epoch: Epoch,
        installed: Epoch,
    },
    Noted {
        epoch: Epoch,
        installed: Epoch,
    },
}

/// What a process may do next.
pub(crate) enum Epochs {
    /// The connection broke, and what was under way with it.
    Reconnected,
    Unknown,
    Known(Token),
}

/// A process's connection to Redis, and what it knows of the epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link {
    pub(crate) process: usize,
    run: Run,
    token: Option<Token>,
    install: Install,
    /// The database has another epoch than Redis.
    doubt: bool,
}

impl Link {
    pub(crate) fn new(process: usize) -> Self {
        Self {
            process,
            ..Self::default()
        }
    }

    /// Forgets what turned out stale.
    pub(crate) fn forget(&mut self) {
        self.token = None;
    }

    /// A worker found its epoch to be over: whether Redis has the one that follows must be seen.
    pub(crate) fn doubt(&mut self) {
        self.token = None;
        self.doubt = true;
    }

    /// The epoch to name, where it is known; else one step of finding out.
    pub(crate) fn token(&mut self, world: &mut World) -> Epochs {
        if self.run != world.redis.run {
            self.run = world.redis.run;
            if world.rules.keep(Rule::RunId) {
                self.token = None;
            }
            self.give_up(world);
            return Epochs::Reconnected;
        }
        if self.token.is_none() {
            if matches!(self.install, Install::Waiting) && !self.doubt {
                self.token = self.read(world);
            }
            if self.token.is_none() && !world.postgres.is_down {
                self.step(world);
            }
            return Epochs::Unknown;
        }
        self.token.map_or(Epochs::Unknown, Epochs::Known)
    }

    fn read(&self, world: &World) -> Option<Token> {
        let found = world.redis.data.installed?;
        let open_on = found.open_on?;
        if open_on != self.run && world.rules.keep(Rule::RunId) {
            return None;
        }
        Some(Token {
            epoch: found.epoch,
            run: open_on,
            young_until: found
                .since
                .map_or(0, |since| since + crate::redis::REMEMBER),
        })
    }

    /// The end of a process, or of its connection: the lock goes with it.
    pub(crate) fn give_up(&mut self, world: &mut World) {
        self.install = Install::Waiting;
        if world.postgres.lock == Some(self.process) {
            world.postgres.lock = None;
        }
    }

    fn step(&mut self, world: &mut World) {
        self.install = match self.install {
            Install::Waiting => {
                if world.postgres.lock.is_some() {
                    return;
                }
                world.postgres.lock = Some(self.process);
                Install::Locked
            }
            Install::Locked => {
                let here = world.redis.data.installed.map_or(0, |it| it.epoch);
                self.doubt = false;
                if here == world.postgres.epoch && self.read(world).is_some() {
                    return self.give_up(world);
                }
                let installed = world.postgres.installed;
                let epoch = world.postgres.epoch.max(here) + 1;
                world.postgres.epoch = epoch;
                Install::Begun { epoch, installed }
            }
            Install::Begun { epoch, installed } => {
                if !world.redis.data.install(world.rules, epoch, installed) {
                    return self.give_up(world);
                }
                if !world.rules.keep(Rule::OpenLast) {
                    self.open(world, epoch, installed);
                }
                Install::Copied { epoch, installed }
            }
            Install::Copied { epoch, installed } => {
                if world.postgres.epoch != epoch {
                    return self.give_up(world);
                }
                world.postgres.installed = epoch;
                Install::Noted { epoch, installed }
            }
            Install::Noted { epoch, installed } => {
                self.open(world, epoch, installed);
                return self.give_up(world);
            }
        };
    }

    fn open(&self, world: &mut World, epoch: Epoch, installed: Epoch) {
        let since = (installed > 0).then_some(world.now);
        if world.redis.data.open(epoch, self.run, since) {
            world.clients.resend();
        }
    }
}
