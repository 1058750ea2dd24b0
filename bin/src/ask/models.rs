//! The policies of a conversation: the model without an adapter and with the adapters that are in use.

use std::path::{Path, PathBuf};

use model::Policy;
use model::device::ResolvedDevice;

use super::opening::{input, open_policy};
use crate::cli::AskOptions;
use crate::failure::Failure;

/// The opened policies.
pub struct Models<'a> {
    options: &'a AskOptions,
    device: &'a ResolvedDevice,
    /// The model without an adapter.
    base: Option<Policy>,
    adapted: Vec<(PathBuf, Policy)>,
}

impl<'a> Models<'a> {
    /// None is opened yet.
    pub fn new(options: &'a AskOptions, device: &'a ResolvedDevice) -> Models<'a> {
        Models { options, device, base: None, adapted: Vec::new() }
    }

    /// The policy with this adapter, or without one. It is opened if it is not yet.
    pub fn get(&mut self, adapter: Option<&Path>) -> Result<&Policy, Failure> {
        match adapter {
            None => self.base(),
            Some(folder) => self.adapted(folder),
        }
    }

    /// Closes the policies with other adapters than these.
    pub fn keep(&mut self, adapters: &[Option<&Path>]) {
        self.adapted.retain(|(folder, _)| adapters.contains(&Some(folder)));
    }

    fn base(&mut self) -> Result<&Policy, Failure> {
        let opened = match self.base.take() {
            Some(opened) => opened,
            None => match self.adapted.first() {
                Some((_, adapted)) => adapted.reference().map_err(input)?,
                None => open_policy(self.options, None, self.device)?,
            },
        };
        Ok(self.base.insert(opened))
    }

    fn adapted(&mut self, folder: &Path) -> Result<&Policy, Failure> {
        let known = self.adapted.iter().position(|(known, _)| known == folder);
        let place = match known {
            Some(place) => place,
            None => {
                let opened = open_policy(self.options, Some(folder), self.device)?;
                if self.base.is_some() {
                    // The weights without the adapter are among those that were opened, and are kept once.
                    self.base = Some(opened.reference().map_err(input)?);
                }
                self.adapted.push((folder.to_owned(), opened));
                self.adapted.len() - 1
            }
        };
        Ok(&self.adapted[place].1)
    }
}
