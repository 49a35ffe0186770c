//! A gateway: appends what clients send, one at a time, in steps between which anything happens.

use crate::clients::Send;
use crate::install::{Epochs, Link};
use crate::redis::{FRESH, GRACE, Place, Reply, Seq, Time, Token};
use crate::rules::Rule;
use crate::world::World;

pub(crate) struct Gateway {
    link: Link,
    work: Option<Work>,
}

struct Work {
    send: Send,
    /// When and in which epoch the database was asked, and what it said.
    asked: Option<(Time, Token, Option<Place>)>,
    seed: Seed,
}

enum Seed {
    No,
    Ask,
    Answered(Seq),
}

impl Gateway {
    pub(crate) fn new(process: usize) -> Self {
        Self {
            link: Link::new(process),
            work: None,
        }
    }

    /// It dies; nobody hears what came of its work.
    pub(crate) fn crash(&mut self, world: &mut World) {
        self.link.give_up(world);
        if let Some(work) = self.work.take() {
            world.clients.unanswered(work.send);
        }
        self.link = Link::new(self.link.process);
    }

    pub(crate) fn step(&mut self, world: &mut World) -> Result<(), String> {
        let token = match self.link.token(world) {
            Epochs::Known(token) => token,
            Epochs::Unknown => return Ok(()),
            Epochs::Reconnected => {
                if let Some(work) = self.work.take() {
                    world.clients.unanswered(work.send);
                }
                return Ok(());
            }
        };
        let Some(work) = &mut self.work else {
            self.work = world
                .clients
                .next(&mut world.random, world.now)
                .map(|send| Work {
                    send,
                    asked: None,
                    seed: Seed::No,
                });
            return Ok(());
        };
        if let Some((at, asked, _)) = work.asked
            && (world.now >= at + GRACE
                || asked.epoch != token.epoch && world.rules.keep(Rule::AskAgain))
        {
            work.asked = None;
        }
        match work.seed {
            Seed::No => {}
            Seed::Ask if world.postgres.is_down => return Ok(()),
            Seed::Ask => {
                work.seed = Seed::Answered(world.postgres.top(work.send.channel));
                return Ok(());
            }
            Seed::Answered(top) => {
                world
                    .redis
                    .data
                    .seed(world.rules, token, work.send.channel, top);
                work.seed = Seed::No;
                return Ok(());
            }
        }
        if work.asked.is_none() {
            let must = match work.send.made {
                None => true,
                Some(made) => {
                    let old = world.now > made + FRESH && world.rules.keep(Rule::OldLookUp);
                    let young =
                        world.now < token.young_until && world.rules.keep(Rule::YoungLookUp);
                    old || young
                }
            };
            if must && world.postgres.is_down {
                return Ok(());
            }
            let known = world.postgres.known(work.send.channel, work.send.act);
            work.asked = Some((world.now, token, known.filter(|_| must)));
            return Ok(());
        }
        self.append(world, token)
    }

    fn append(&mut self, world: &mut World, token: Token) -> Result<(), String> {
        let Some(work) = &mut self.work else {
            return Ok(());
        };
        let what = (work.send.channel, work.send.act);
        let known = work.asked.and_then(|(_, _, known)| known);
        let reply = world
            .redis
            .data
            .append(world.rules, token, world.now, what, known);
        match reply {
            Reply::Stale => self.link.forget(),
            Reply::Seed => work.seed = Seed::Ask,
            answer => {
                let (place, is_stored) = match answer {
                    Reply::New(entry) => {
                        world.show(work.send.channel, entry)?;
                        (Some(entry.place()), false)
                    }
                    Reply::Known(place, is_stored) => (Some(place), is_stored),
                    _ => (None, false),
                };
                let send = work.send;
                self.work = None;
                if world.random.percent(15) {
                    world.clients.unanswered(send);
                } else {
                    world.answer(send, place, is_stored)?;
                }
            }
        }
        Ok(())
    }
}
