//! What each rank has for sums by NCCL, and whether that fits together.

/// Why ranks without GPUs don't use NCCL.
pub(crate) const ALL_ON_CPUS: &str = "all replicas are on the CPU";

/// What a rank has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Its replica is on the CPU.
    OnCpu,
    /// It can't use NCCL, for this reason.
    Unfit(String),
    /// A version of NCCL, and a GPU.
    Nccl { version: i32, gpu: String },
}

impl Offer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Offer::OnCpu => b"cpu".to_vec(),
            Offer::Unfit(reason) => format!("unfit\t{reason}").into_bytes(),
            Offer::Nccl { version, gpu } => format!("nccl\t{version}\t{gpu}").into_bytes(),
        }
    }

    /// The offer of some bytes; `None` if no rank of this program sent them.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Offer> {
        let text = String::from_utf8_lossy(bytes);
        match text.split_once('\t') {
            None => (text == "cpu").then_some(Offer::OnCpu),
            Some(("unfit", reason)) => Some(Offer::Unfit(reason.to_owned())),
            Some(("nccl", rest)) => {
                let (version, gpu) = rest.split_once('\t')?;
                Some(Offer::Nccl { version: version.parse().ok()?, gpu: gpu.to_owned() })
            }
            Some(_) => None,
        }
    }
}

/// `22809` is 2.28.9, and before 2.9 `2804` was 2.8.4.
pub(super) fn version_name(version: i32) -> String {
    let unit = if version < 10_000 { 1000 } else { 10_000 };
    format!("{}.{}.{}", version / unit, version % unit / 100, version % 100)
}

/// Why ranks with these offers, in their order, can't add up by NCCL; `None` if they can.
pub(crate) fn misfit(offers: &[Offer]) -> Option<String> {
    if offers.iter().all(|offer| *offer == Offer::OnCpu) {
        return Some(ALL_ON_CPUS.into());
    }
    let mut fit: Vec<(i32, &str)> = Vec::new();
    for (rank, offer) in offers.iter().enumerate() {
        match offer {
            Offer::OnCpu => return Some(format!("the replica of rank {rank} is on the CPU")),
            Offer::Unfit(reason) => return Some(format!("rank {rank} can't use NCCL: {reason}")),
            Offer::Nccl { version, gpu } => fit.push((*version, gpu)),
        }
    }
    for (rank, (version, gpu)) in fit.iter().enumerate() {
        // NCCL itself refuses ranks of different versions, but only while they connect.
        if *version != fit[0].0 {
            let (own, other) = (version_name(fit[0].0), version_name(*version));
            return Some(format!("rank {rank} has NCCL {other} and rank 0 has {own}"));
        }
        if let Some(first) = fit[..rank].iter().position(|(_, other)| other == gpu) {
            return Some(format!("ranks {first} and {rank} have the same GPU, which NCCL does not allow"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nccl(version: i32, gpu: &str) -> Offer {
        Offer::Nccl { version, gpu: gpu.into() }
    }

    #[test]
    fn offers_arrive_as_they_were_sent() {
        let offers = [Offer::OnCpu, Offer::Unfit("a\tb: c".into()), nccl(22_809, "boot 0000:01:00.0")];
        for offer in offers {
            assert_eq!(Offer::decode(&offer.encode()), Some(offer));
        }
        for bytes in [&b""[..], b"nccl\tx\tgpu", b"nccl\t1", b"cpu\t"] {
            assert_eq!(Offer::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn versions_are_read_in_both_forms() {
        for (version, name) in [(22_809, "2.28.9"), (21_400, "2.14.0"), (2804, "2.8.4")] {
            assert_eq!(version_name(version), name);
        }
    }

    #[test]
    fn all_ranks_fit_or_the_first_that_does_not_is_named() {
        let fine = nccl(22_809, "a 1");
        let found = [
            (vec![fine.clone(), nccl(22_809, "a 2"), nccl(22_809, "b 1")], None),
            (vec![Offer::OnCpu, Offer::OnCpu], Some(ALL_ON_CPUS)),
            (vec![fine.clone(), Offer::OnCpu], Some("the replica of rank 1 is on the CPU")),
            (
                vec![fine.clone(), Offer::Unfit("no library".into())],
                Some("rank 1 can't use NCCL: no library"),
            ),
            (
                vec![fine.clone(), nccl(22_809, "a 2"), nccl(22_703, "a 3")],
                Some("rank 2 has NCCL 2.27.3 and rank 0 has 2.28.9"),
            ),
            (
                vec![nccl(22_809, "a 0"), fine.clone(), fine],
                Some("ranks 1 and 2 have the same GPU, which NCCL does not allow"),
            ),
        ];
        for (offers, reason) in found {
            assert_eq!(misfit(&offers).as_deref(), reason, "{offers:?}");
        }
    }
}
