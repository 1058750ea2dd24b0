//! Ranks as threads of one process, which meet at a port of this machine.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::{Group, Launch, RankError, Rendezvous};

mod nccl;

const TIMEOUT: Duration = Duration::from_secs(2);

fn follower(own: &Launch, rank: usize, port: u16) -> Launch {
    Launch { rank, port, ..own.clone() }
}

/// Runs `work` as each rank of a group, and returns what each returned.
fn ranks<T: Send>(size: usize, work: impl Fn(Group) -> T + Sync) -> Vec<T> {
    let own = Launch::own(size);
    let leader = Rendezvous::open(&own, TIMEOUT).unwrap();
    let port = leader.port();
    let identity = [("scenario", "a".to_owned())];
    std::thread::scope(|scope| {
        let (work, own, identity) = (&work, &own, &identity);
        let followers: Vec<_> = (1..size)
            .map(|rank| {
                scope.spawn(move || {
                    let rendezvous = Rendezvous::open(&follower(own, rank, port), TIMEOUT).unwrap();
                    work(rendezvous.meet(identity, &mut || Ok(())).unwrap())
                })
            })
            .collect();
        let first = work(leader.meet(identity, &mut || Ok(())).unwrap());
        std::iter::once(first).chain(followers.into_iter().map(|thread| thread.join().unwrap())).collect()
    })
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor).unwrap()
}

#[test]
fn sums_broadcasts_and_orders_reach_every_rank() {
    let found = ranks(3, |mut group| {
        let rank = group.rank();
        let sum = Tensor::from_slice(&[rank as f32, 1.0]);
        group.sum(&sum).unwrap();
        let half = Tensor::from_slice(&[10.0 + rank as f32]).to_kind(Kind::BFloat16);
        group.broadcast(&half).unwrap();
        let order = match rank {
            0 => {
                // More than the store takes, none, and a few bytes.
                group.order(&[vec![7; 9 << 20], Vec::new()]).unwrap();
                Vec::new()
            }
            _ => group.next_order().unwrap(),
        };
        let parts = group.agree(&[rank as u8], |parts| {
            assert_eq!(parts.len(), 3);
            Ok(())
        });
        group.barrier().unwrap();
        group.finish();
        (values(&sum), values(&half.to_kind(Kind::Float)), order.len(), parts.unwrap())
    });
    for (rank, (sum, half, order, parts)) in found.into_iter().enumerate() {
        assert_eq!((sum, half), (vec![3.0, 3.0], vec![10.0]), "rank {rank}");
        assert_eq!(order, [0, 9 << 20, 0][rank]);
        assert_eq!(parts, if rank == 0 { vec![vec![0], vec![1], vec![2]] } else { vec![] });
    }
}

/// RANKS-1: the reason of one rank is that of all, within a moment.
#[test]
fn a_rank_that_ends_ends_the_others_with_its_reason() {
    let errors = ranks(3, |mut group| match group.rank() {
        2 => {
            group.end("rank 2: out of memory");
            RankError::Ended("rank 2: out of memory".into())
        }
        0 => group.agree(&[], |_| Ok(())).unwrap_err(),
        _ => group.next_order().unwrap_err(),
    });
    assert_eq!(errors, vec![RankError::Ended("rank 2: out of memory".into()); 3]);
}

#[test]
fn what_rank_0_does_not_accept_ends_all_with_the_same_reason() {
    let unlike = RankError::Unlike { rank: 1, what: "weights".into(), own: "1".into(), other: "2".into() };
    let errors = ranks(2, |mut group| {
        let first = group.agree(&[], |_| Err(unlike.clone())).unwrap_err();
        // Every later call fails with it, too.
        assert_eq!(group.sum(&Tensor::from_slice(&[1f32])).unwrap_err(), first);
        first
    });
    assert_eq!(errors[0], unlike);
    assert_eq!(errors[1], RankError::Ended(unlike.to_string()));
}

/// RANKS-1: a collective that one rank never enters ends after the time-out.
#[test]
fn a_rank_that_stays_away_from_a_collective_is_an_error_after_the_timeout() {
    let took = ranks(2, |mut group| {
        let began = Instant::now();
        if group.rank() == 1 {
            // It lives, but does not come.
            let ended = loop {
                match group.ender().reason() {
                    Some(reason) => break reason,
                    None => std::thread::sleep(Duration::from_millis(20)),
                }
            };
            return (began.elapsed(), ended);
        }
        let error = group.sum(&Tensor::ones([4], (Kind::Float, Device::Cpu))).unwrap_err();
        assert!(matches!(error, RankError::Lost { what: "adding up gradients", .. }), "{error}");
        (began.elapsed(), error.to_string())
    });
    assert_eq!(took[0].1, took[1].1);
    assert!(took.iter().all(|(time, _)| *time < 20 * TIMEOUT), "{took:?}");
}

#[test]
fn a_tensor_that_is_not_one_piece_is_refused_and_not_read() {
    let errors = ranks(2, |mut group| {
        let matrix = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
        group.sum(&matrix.tr()).unwrap_err().to_string()
    });
    assert!(errors.iter().any(|error| error.contains("not one piece")), "{errors:?}");
}

/// Meets with another identity as rank 1, and returns what both ranks say.
fn meet_with(other: &[(&str, String)]) -> [String; 2] {
    let own = Launch::own(2);
    let leader = Rendezvous::open(&own, TIMEOUT).unwrap();
    let second = follower(&own, 1, leader.port());
    std::thread::scope(|scope| {
        let met = scope.spawn(|| {
            let rendezvous = Rendezvous::open(&second, TIMEOUT).unwrap();
            rendezvous.meet(other, &mut || Ok(())).err().unwrap().to_string()
        });
        let identity = [("program", "1".to_owned()), ("scenario", "a".to_owned())];
        let error = leader.meet(&identity, &mut || Ok(())).err().unwrap().to_string();
        [error, met.join().unwrap()]
    })
}

#[test]
fn ranks_with_another_scenario_or_program_are_refused_on_both_sides() {
    let told = meet_with(&[("program", "1".into()), ("scenario", "b".into())]);
    assert!(told[0].starts_with("rank 1 has another scenario than rank 0: b instead of a"), "{told:?}");
    assert_eq!(told[0], told[1]);
    let told = meet_with(&[("program", "2".into()), ("scenario", "a".into())]);
    assert!(told[0].starts_with("rank 1 has another program than rank 0: 2 instead of 1"), "{told:?}");
    let told = meet_with(&[]);
    assert!(told[0].contains("none instead of 1"), "{told:?}");
}

#[test]
fn whoever_waits_for_a_rank_that_can_not_come_may_give_up() {
    let own = Launch::own(2);
    let mut asked = 0;
    let error = Rendezvous::open(&own, TIMEOUT).unwrap().meet(&[], &mut || {
        asked += 1;
        if asked < 3 { Ok(()) } else { Err(RankError::Ended("rank 1 ended".into())) }
    });
    assert_eq!(error.err(), Some(RankError::Ended("rank 1 ended".into())));
}

#[test]
fn a_port_that_is_taken_is_an_error_with_its_number() {
    let taken = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let own = Launch { port, ..Launch::own(2) };
    let error = Rendezvous::open(&own, TIMEOUT).err().unwrap().to_string();
    assert!(error.starts_with(&format!("the store of the ranks at 127.0.0.1:{port}: ")), "{error}");
}
