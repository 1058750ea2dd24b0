//! The judges' servers, which all arms share. A request goes to the server with most room; without room it waits, and those who
//! waited longest go first.

use std::collections::{BTreeMap, VecDeque};

use crate::inputs::JudgeInputs;

/// What a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Step(u64),
    Evaluation,
}

/// A request of an arm in one of its lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) arm: usize,
    pub(crate) life: u64,
    pub(crate) of: Of,
    pub(crate) seconds: f64,
}

/// A request that a server has begun; to be ended with [`Judges::done`] after its seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) server: usize,
    pub(crate) number: u64,
    pub(crate) seconds: f64,
}

#[derive(Default)]
struct Server {
    is_down: bool,
    in_flight: BTreeMap<u64, Request>,
}

pub(crate) struct Judges {
    servers: Vec<Server>,
    concurrency: usize,
    waiting: VecDeque<Request>,
    begun: u64,
    /// Time of all requests that were answered, in seconds.
    pub(crate) busy_seconds: f64,
}

impl Judges {
    pub(crate) fn new(inputs: &JudgeInputs) -> Self {
        Judges {
            servers: (0..inputs.servers).map(|_| Server::default()).collect(),
            concurrency: inputs.concurrency,
            waiting: VecDeque::new(),
            begun: 0,
            busy_seconds: 0.0,
        }
    }

    pub(crate) fn ask(&mut self, request: Request) {
        self.waiting.push_back(request);
    }

    /// Begins the first request that waits, if there is room for it.
    pub(crate) fn begin(&mut self) -> Option<Begun> {
        self.waiting.front()?;
        let with_room = self
            .servers
            .iter()
            .enumerate()
            .filter(|(_, server)| !server.is_down && server.in_flight.len() < self.concurrency);
        let (server, _) = with_room.min_by_key(|(_, server)| server.in_flight.len())?;
        let request = self.waiting.pop_front()?;
        self.begun += 1;
        self.servers[server].in_flight.insert(self.begun, request);
        Some(Begun { server, number: self.begun, seconds: request.seconds })
    }

    /// The request that is answered now; `None` if its server failed meanwhile.
    pub(crate) fn done(&mut self, server: usize, number: u64) -> Option<Request> {
        let request = self.servers[server].in_flight.remove(&number)?;
        self.busy_seconds += request.seconds;
        Some(request)
    }

    /// Has a server fail: its requests wait again, before all others.
    pub(crate) fn fail(&mut self, server: usize) {
        self.servers[server].is_down = true;
        let lost = std::mem::take(&mut self.servers[server].in_flight);
        lost.into_values().rev().for_each(|request| self.waiting.push_front(request));
    }

    pub(crate) fn restart(&mut self, server: usize) {
        self.servers[server].is_down = false;
    }

    /// Requests that are answered at the same time at most.
    pub(crate) fn room(&self) -> usize {
        self.servers.len() * self.concurrency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_over_servers_and_those_of_a_failed_one_are_asked_again() {
        let inputs = JudgeInputs { servers: 2, concurrency: 1, ..JudgeInputs::default() };
        let mut judges = Judges::new(&inputs);
        for step in 0..3 {
            judges.ask(Request { arm: 0, life: 0, of: Of::Step(step), seconds: 1.0 });
        }
        let begun: Vec<Begun> = std::iter::from_fn(|| judges.begin()).collect();
        assert_eq!(begun.iter().map(|begun| begun.server).collect::<Vec<_>>(), [0, 1]);
        judges.fail(0);
        assert!(judges.done(0, begun[0].number).is_none() && judges.begin().is_none());
        assert_eq!(judges.done(1, begun[1].number).unwrap().of, Of::Step(1));
        // The first request is the next again, on the server that is left.
        let again = judges.begin().unwrap();
        assert_eq!(judges.done(again.server, again.number).unwrap().of, Of::Step(0));
        judges.restart(0);
        assert_eq!(judges.begin().unwrap().server, 0);
    }
}
